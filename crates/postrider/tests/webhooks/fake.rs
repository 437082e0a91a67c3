//! An API on loopback that answers from a script and keeps every request.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A request as the API saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `GET /api/v1/webhooks?status=active`
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    /// Null when there was none.
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An answer of the script.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

pub(crate) fn raw(status: u16, kind: &'static str, body: impl Into<String>) -> Reply {
    Reply {
        status,
        headers: vec![("content-type", kind.to_owned())],
        body: body.into(),
    }
}

pub(crate) fn json_of(status: u16, body: &Value) -> Reply {
    raw(status, "application/json", body.to_string())
}

pub(crate) fn ok(body: &Value) -> Reply {
    json_of(200, body)
}

pub(crate) fn problem(status: u16, detail: &str, errors: &[(&str, &str)]) -> Reply {
    let errors = errors
        .iter()
        .map(|(path, reason)| json!({ "path": path, "reason": reason }));
    let errors: Vec<Value> = errors.collect();
    let body = json!({"type": "about:blank", "title": "Refused", "status": status, "detail": detail, "errors": errors});
    raw(status, "application/problem+json", body.to_string())
}

pub(crate) fn redirect(to: &str) -> Reply {
    Reply {
        status: 307,
        headers: vec![("location", to.to_owned())],
        body: String::new(),
    }
}

/// The API.
pub(crate) struct Fake {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

impl Fake {
    /// Answers each request by its line, such as `GET /api/v1/webhooks`.
    pub(crate) fn new(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, kept) = (Arc::new(script), Arc::clone(&seen));
        let answer = move |request: Request| {
            let (script, kept) = (Arc::clone(&script), Arc::clone(&kept));
            async move {
                let seen = read(request).await;
                let reply = script(&seen.line);
                kept.lock().push(seen);
                response(reply)
            }
        };
        runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self {
            address,
            seen,
            _runtime: runtime,
        }
    }

    /// One that answers everything alike.
    pub(crate) fn always(reply: Reply) -> Self {
        Self::new(move |_| reply.clone())
    }

    /// Everything asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    /// The only request there was.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = postrider(arguments);
        command.args(["--api", &self.address]);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints that has to end well.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
        stdout(&output)
    }
}

async fn read(request: Request) -> Seen {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Seen {
        line: format!("{} {}", head.method, head.uri),
        headers: head.headers,
        body: if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        },
    }
}

fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(reply.body.into()).unwrap()
}

pub(crate) fn postrider(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.env_clear().stdin(Stdio::null()).args(arguments);
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file that is gone with its directory.
pub(crate) fn file(content: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}
