//! REST the way the field speaks it: one `curl` for each request, verified by the platform's own trust anchor.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use super::authority::CertificateFiles;
use super::https::Https;
use super::process::{Outcome, program, run};

/// Where requests go, and what they carry.
#[derive(Clone)]
pub(crate) struct Rest {
    base: String,
    ca: PathBuf,
    headers: Vec<String>,
    certificate: Option<CertificateFiles>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Null when the body is not JSON.
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Rest {
    /// Requests to `base`, without credentials.
    pub(crate) fn new(base: &str, ca: &Path) -> Self {
        Self { base: base.into(), ca: ca.to_owned(), headers: Vec::new(), certificate: None }
    }

    /// The same with one more header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// The same over a connection that shows this certificate.
    #[must_use]
    pub(crate) fn with_certificate(mut self, files: CertificateFiles) -> Self {
        self.certificate = Some(files);
        self
    }

    /// GET of a path below `/api/v1`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None)
    }

    /// GET of a path below `/api/v1`, whose answer the test reads as slowly as it wants.
    #[track_caller]
    pub(crate) fn open(&self, path: &str) -> Https {
        let authority = self.base.trim_start_matches("https://");
        let headers: String = self.headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("GET /api/v1{path} HTTP/1.1\r\nHost: {authority}\r\n{headers}Connection: close\r\n\r\n");
        let ca = std::fs::read_to_string(&self.ca).expect("the trust anchors");
        Https::send(authority, &ca, request.as_bytes())
    }

    /// POST of bytes as JSON, whatever they are.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", path, Some(body))
    }

    /// PUT of bytes as JSON.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.request("PUT", path, Some(body))
    }

    /// DELETE of a path below `/api/v1`.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, None)
    }

    #[track_caller]
    fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        self.attempt(method, path, body).unwrap_or_else(|outcome| panic!("curl failed: {outcome:#?}"))
    }

    /// The same, when there may be no answer at all: a handshake that is refused.
    pub(crate) fn attempt(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer, Outcome> {
        let mut command = Command::new(program("curl"));
        command.args(["--silent", "--show-error", "--request", method, "--noproxy", "*"]);
        command.arg("--cacert").arg(&self.ca);
        if let Some(files) = &self.certificate {
            command.arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
        }
        command.args(["--write-out", "\n%{http_code} %{content_type}"]);
        for header in &self.headers {
            command.args(["--header", header]);
        }
        // Held until curl has read it.
        let mut file = None;
        if let Some(body) = body {
            let file = file.insert(tempfile::NamedTempFile::new().expect("a temporary file"));
            file.write_all(body).expect("the body on disk");
            let mut data = std::ffi::OsString::from("@");
            data.push(file.path());
            command.args(["--header", "Content-Type: application/json", "--header", "Expect:"]);
            command.arg("--data-binary").arg(data);
        }
        command.arg(format!("{}/api/v1{path}", self.base));
        let outcome = run(&mut command, PATIENCE);
        if outcome.code != Some(0) {
            return Err(outcome);
        }
        let (text, last) = outcome.stdout.rsplit_once('\n').expect("a line of our own after the body");
        let (status, content_type) = last.split_once(' ').unwrap_or((last, ""));
        Ok(Answer {
            status: status.parse().expect("a status"),
            content_type: content_type.into(),
            json: serde_json::from_str(text).unwrap_or(Value::Null),
            text: text.into(),
        })
    }
}

impl Answer {
    /// The body, when the status is the one expected.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:#?}");
        self.json
    }

    /// Checks a refusal: problem details of RFC 9457 and, beside them, the fields that older clients read.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) {
        let mut wrong = String::new();
        let mut check = |what: &str, found: &Value, wanted: Value| {
            if *found != wanted {
                let _ = writeln!(wrong, "{what}: {found}, not {wanted}");
            }
        };
        check("content type", &self.content_type.as_str().into(), "application/problem+json".into());
        check("HTTP status", &self.status.into(), status.into());
        check("status", &self.json["status"], status.into());
        check("type", &self.json["type"], format!("urn:tesaiot:problem:{code}").into());
        check("success", &self.json["success"], false.into());
        check("error.code", &self.json["error"]["code"], code.into());
        check("error.message", &self.json["error"]["message"], self.json["detail"].clone());
        assert!(wrong.is_empty() && self.json["detail"].is_string(), "{wrong}{self:#?}");
    }
}
