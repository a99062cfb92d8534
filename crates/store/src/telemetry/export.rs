//! All points of a device in a span of time, in the order of time, in constant memory.
//!
//! Points come in batches of a few chunks each. Between two batches nothing is held: no
//! connection, no transaction, no lock, so a slow reader holds up nobody. A batch is consistent in
//! itself; a late point that is appended behind the place the export has reached is not in it.

use std::sync::Arc;

use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::points::Points;
use super::query::RangeQuery;
use super::range::{collect_head, read_together};
use super::shared::Device;
use super::span::Span;
use super::view::{Source, View};
use crate::error::StoreError;

/// Chunks read for one batch, where they do not overlap: of one metric, and of all. A batch is what a slow reader
/// keeps in memory.
const CHUNKS: (usize, usize) = (16, 2);

/// The points of one device, batch by batch, none of them empty.
#[derive(Debug)]
pub struct Export {
    telemetry: Telemetry,
    device: Option<Arc<Device>>,
    metric: Option<Box<str>>,
    /// What is still to be read.
    rest: Option<Span>,
    /// Points still to be given.
    limit: usize,
}

impl Telemetry {
    /// The points that [`Telemetry::range`] gives for the same query, oldest first, in batches
    /// that are read as they are asked for. [`RangeQuery::newest_first`] is not looked at.
    pub fn export(&self, device: &DeviceId, query: &RangeQuery) -> Export {
        Export {
            telemetry: self.clone(),
            device: self.shared.device(device),
            metric: query.metric.clone(),
            rest: Span::of(query.from, query.to).and_then(|span| self.shared.kept(device, span)),
            limit: query.limit,
        }
    }
}

impl Iterator for Export {
    type Item = Result<Points, StoreError>;

    /// The next batch. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        let device = Arc::clone(self.device.as_ref()?);
        while let Some(rest) = self.rest.take().filter(|_| self.limit > 0) {
            let metric = self.metric.as_deref();
            let batch = self.telemetry.view(
                &device,
                |state| {
                    let mut points = Points::default();
                    collect_head(&state.head, metric, rest, &mut points);
                    points
                },
                |view, head| batch(view, head, metric, rest),
            );
            match batch {
                Ok((read, mut points)) => {
                    self.rest = (read.to < rest.to).then(|| Span { from: read.to + 1, to: rest.to });
                    if !points.is_empty() {
                        points.truncate(self.limit);
                        self.limit -= points.len();
                        return Some(Ok(points));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// The points of the next stretch of time.
fn batch(view: &View<'_>, mut head: Points, metric: Option<&str>, rest: Span) -> Result<(Span, Points), StoreError> {
    let most = if metric.is_some() { CHUNKS.0 } else { CHUNKS.1 };
    let (stretch, mut sources) = view.stretch(rest, most)?;
    head.retain_up_to(stretch.to);
    head.sort_from(0);
    if !head.is_empty() {
        sources.push(Source { span: stretch, chunk: None });
    }
    // Sources that follow one another need no sorting; the head may lie anywhere.
    sources.sort_by_key(|source| source.span.from);
    let is_apart = sources.windows(2).all(|pair| pair[0].span.to < pair[1].span.from);
    let mut points = Points::default();
    if is_apart {
        for source in sources {
            read_together(view, vec![source], &mut head, metric, stretch, &mut points)?;
        }
    } else {
        read_together(view, sources, &mut head, metric, stretch, &mut points)?;
    }
    Ok((stretch, points))
}
