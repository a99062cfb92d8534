//! Answers of any length as CSV (RFC 4180), lines of JSON or Arrow columns, in constant memory.
//!
//! A batch is read when the client has taken the one before it: a slow client holds nothing but
//! its connection. When a batch cannot be read the connection is cut, so that no client takes a
//! part for the whole.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use serde_json::Value;
use tesaiot_contract::DeviceId;
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::{Bucket, Export, PlotPoint, Points};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::question::{Aggregate, Format, shown_bucket};
use super::{arrow, value};

/// The first line of a table of points.
const HEADER: &[u8] = b"time,metric,value,unit,type,received_at\r\n";

/// Points of an export as a response, which gives its place back when it is read, cut or abandoned.
pub(super) fn points(export: Export, device: &DeviceId, format: Format, place: OwnedSemaphorePermit) -> Response {
    let first = begin(device, format).into();
    let body = Exported { state: Reading::Written(first, Box::new(export)), format, _place: place };
    (content_type(format), Body::new(body)).into_response()
}

/// Points that were read already.
pub(super) fn read_points(points: &Points, device: &DeviceId, format: Format) -> Response {
    let mut text = begin(device, format);
    write_points(&mut text, points, format);
    text.extend_from_slice(end(format));
    (content_type(format), text).into_response()
}

/// What stands before the first point.
fn begin(device: &DeviceId, format: Format) -> Vec<u8> {
    match format {
        Format::Csv => HEADER.to_vec(),
        Format::Arrow => arrow::begin(device),
        Format::Json | Format::Ndjson => Vec::new(),
    }
}

/// What stands behind the last point, and nowhere else.
fn end(format: Format) -> &'static [u8] {
    if format == Format::Arrow { &arrow::END } else { &[] }
}

/// Buckets as a table or as lines of JSON.
pub(super) fn buckets(buckets: &[Bucket], aggregates: &[(&'static str, Aggregate)], format: Format) -> Response {
    let mut text = Vec::new();
    if format == Format::Csv {
        let names: Vec<&str> = std::iter::once("start").chain(aggregates.iter().map(|(name, _)| *name)).collect();
        row(&mut text, names.into_iter());
    }
    for bucket in buckets {
        if format == Format::Csv {
            let start = bucket.start.to_string();
            let cells: Vec<String> = aggregates.iter().map(|(_, aggregate)| cell(&aggregate.of(bucket))).collect();
            row(&mut text, std::iter::once(start.as_str()).chain(cells.iter().map(String::as_str)));
        } else {
            line(&mut text, &shown_bucket(bucket, aggregates));
        }
    }
    (content_type(format), text).into_response()
}

/// Points of a plot as a table or as lines of JSON.
pub(super) fn plot(points: &[PlotPoint], format: Format) -> Response {
    let mut text = if format == Format::Csv { b"time,value\r\n".to_vec() } else { Vec::new() };
    for point in points {
        if format == Format::Csv {
            row(&mut text, [point.time.to_string().as_str(), cell(&point.value.into()).as_str()].into_iter());
        } else {
            line(&mut text, &serde_json::json!({"time": point.time.to_string(), "value": point.value}));
        }
    }
    (content_type(format), text).into_response()
}

fn content_type(format: Format) -> [(header::HeaderName, &'static str); 1] {
    let name = match format {
        Format::Json => "application/json",
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Ndjson => "application/x-ndjson",
        Format::Arrow => "application/vnd.apache.arrow.stream",
    };
    [(header::CONTENT_TYPE, name)]
}

/// A body that reads an export.
struct Exported {
    state: Reading,
    format: Format,
    _place: OwnedSemaphorePermit,
}

/// The text of a batch; none at the end.
type Batch = Option<Result<Vec<u8>, StoreError>>;

enum Reading {
    /// Waits until this text is taken; then the next batch is read.
    Written(Bytes, Box<Export>),
    /// A batch is being read where it may block.
    Busy(JoinHandle<(Box<Export>, Batch)>),
    Done,
}

impl hyper::body::Body for Exported {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, Reading::Done) {
                Reading::Done => return Poll::Ready(None),
                Reading::Written(text, export) if !text.is_empty() => {
                    self.state = Reading::Written(Bytes::new(), export);
                    return Poll::Ready(Some(Ok(Frame::data(text))));
                }
                Reading::Written(_, mut export) => {
                    let format = self.format;
                    self.state = Reading::Busy(tokio::task::spawn_blocking(move || {
                        let batch = export.next().map(|batch| {
                            batch.map(|points| {
                                let mut text = Vec::new();
                                write_points(&mut text, &points, format);
                                // It may be kept for as long as its reader is slow.
                                text.shrink_to_fit();
                                text
                            })
                        });
                        (export, batch)
                    }));
                }
                Reading::Busy(mut handle) => {
                    let read = match Pin::new(&mut handle).poll(context) {
                        Poll::Ready(read) => read,
                        Poll::Pending => {
                            self.state = Reading::Busy(handle);
                            return Poll::Pending;
                        }
                    };
                    match read {
                        Ok((_, None)) => {
                            let end = end(self.format);
                            return Poll::Ready((!end.is_empty()).then(|| Ok(Frame::data(Bytes::from_static(end)))));
                        }
                        Ok((export, Some(Ok(text)))) => self.state = Reading::Written(text.into(), export),
                        Ok((_, Some(Err(error)))) => return Poll::Ready(Some(Err(cut(&error)))),
                        Err(error) => return Poll::Ready(Some(Err(cut(&error)))),
                    }
                }
            }
        }
    }
}

/// Ends a body that cannot be completed.
fn cut(error: &(dyn std::error::Error + 'static)) -> std::io::Error {
    tracing::error!(error, "an export could not be read to its end");
    std::io::Error::other("the export could not be read to its end")
}

/// A point on a line of its own.
#[derive(Serialize)]
struct Line<'a> {
    metric: &'a str,
    value: Value,
    unit: Option<&'a str>,
    time: String,
    received_at: String,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
}

fn write_points(text: &mut Vec<u8>, points: &Points, format: Format) {
    if format == Format::Arrow {
        return arrow::write(text, points);
    }
    for point in points.iter() {
        let (time, received_at) = (point.time.to_string(), point.received_at.to_string());
        let series = point.series;
        let (unit, kind) = (series.unit.as_deref(), series.kind.as_deref());
        let value = value(point.value);
        if format == Format::Csv {
            let value = cell(&value);
            let cells =
                [&time, &*series.metric, &value, unit.unwrap_or_default(), kind.unwrap_or_default(), &received_at];
            row(text, cells.into_iter());
        } else {
            line(text, &Line { metric: &series.metric, value, unit, time, received_at, kind });
        }
    }
}

fn line(text: &mut Vec<u8>, shown: &impl Serialize) {
    // Writing to memory does not fail, and neither does a value without maps of odd keys.
    if serde_json::to_writer(&mut *text, shown).is_ok() {
        text.push(b'\n');
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn row<'a>(text: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            text.push(b',');
        }
        text.extend_from_slice(quoted(cell).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
}

/// A cell with a separator, a quote or a line break stands in quotes, and its quotes are doubled.
fn quoted(cell: &str) -> Cow<'_, str> {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\"")).into()
    } else {
        cell.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut text = Vec::new();
        row(&mut text, ["plain", "a,b", "say \"it\"", "two\nlines", ""].into_iter());
        assert_eq!(String::from_utf8_lossy(&text), "plain,\"a,b\",\"say \"\"it\"\"\",\"two\nlines\",\r\n");
    }
}
