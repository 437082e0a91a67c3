//! Which connection a request gets.

use std::sync::Arc;
use std::time::Duration;

use postrider_delivery::client::Limits;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::servers::{Caller, PATIENCE, Server, answered, ok, open, post, read_request};

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::answering(ok("{}")).await;
    let caller = Caller::new();
    for _ in 0..20 {
        assert_eq!(caller.answer(&server.url()).await.status, 200);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_whose_answer_was_no_success_is_not_used_again() {
    let server = Server::answering("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno").await;
    let caller = Caller::new();
    for expected in 1..=20 {
        assert_eq!(caller.answer(&server.url()).await.status, 500);
        assert_eq!(server.accepted(), expected);
    }
}

#[tokio::test]
async fn two_clients_never_share_a_connection() {
    let server = Server::answering(ok("{}")).await;
    let caller = Caller::new();
    let (first, second) = (caller.clients.client(None), caller.clients.client(None));
    let endpoint = caller.endpoint(&server.url());
    for _ in 0..5 {
        for client in [&first, &second] {
            assert_eq!(answered(post(client, &endpoint, PATIENCE).await).status, 200);
        }
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_was_closed_while_idle_costs_no_request() {
    let closed = Arc::new(Notify::new());
    let told = Arc::clone(&closed);
    let server = Server::start(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            read_request(&mut stream).await;
            stream.write_all(ok("{}").as_bytes()).await.unwrap();
            drop(stream);
            told.notify_one();
        }
    })
    .await;
    let caller = Caller::new();
    for expected in 1..=50 {
        assert_eq!(caller.answer(&server.url()).await.status, 200);
        closed.notified().await;
        assert_eq!(server.accepted(), expected);
    }
}

/// Answers 500, and says 200 on the same connection before the next request, when it is told to.
async fn liar() -> (Server, mpsc::Sender<()>, Arc<Notify>) {
    let (say, heard) = mpsc::channel::<()>(1);
    let heard = Arc::new(Mutex::new(heard));
    let said = Arc::new(Notify::new());
    let done = Arc::clone(&said);
    let server = Server::start(move |mut stream| {
        let (heard, done) = (Arc::clone(&heard), Arc::clone(&done));
        async move {
            while read_request(&mut stream).await.is_some() {
                let real = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(real.as_bytes()).await.unwrap();
                heard.lock().await.recv().await;
                // The client may have closed the connection meanwhile.
                let _ = stream.write_all(ok("unasked").as_bytes()).await;
                done.notify_one();
            }
        }
    })
    .await;
    (server, say, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_nobody_asked_for_is_nobodys_answer() {
    let (server, say, said) = liar().await;
    let caller = Caller::new();
    for round in 0..200 {
        let answer = caller.answer(&server.url()).await;
        assert_eq!(
            (answer.status, answer.response.body.as_str()),
            (500, ""),
            "round {round}"
        );
        say.send(()).await.unwrap();
        said.notified().await;
    }
    assert_eq!(server.accepted(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_at_once_all_get_their_own_answer() {
    let server = Server::start(|mut stream| async move {
        while let Some((head, _)) = read_request(&mut stream).await {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            tokio::time::sleep(Duration::from_millis(2)).await;
            stream.write_all(ok(&path).as_bytes()).await.unwrap();
        }
    })
    .await;
    let caller = Arc::new(Caller::new());
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (caller, url) = (Arc::clone(&caller), format!("http://{}/{n}", server.address));
        requests.spawn(async move { (n, caller.answer(&url).await) });
    }
    while let Some(done) = requests.join_next().await {
        let (n, answer) = done.unwrap();
        assert_eq!(answer.response.body, format!("/{n}"));
    }
}

#[tokio::test]
async fn a_connection_that_is_given_up_is_closed() {
    for begin in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let (tell, mut ended) = mpsc::channel(1);
        let server = Server::start(move |mut stream| {
            let tell = tell.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(begin.as_bytes()).await.unwrap();
                let end = read_request(&mut stream).await;
                tell.send(end.is_none()).await.unwrap();
            }
        })
        .await;
        let caller = Caller::new();
        let _ = caller.post_within(&server.url(), Duration::from_millis(200)).await;
        let ended = tokio::time::timeout(PATIENCE, ended.recv()).await;
        assert_eq!(ended.unwrap(), Some(true), "{begin:?}");
    }
}

/// Answers once on each connection, says when that is done and when the client has closed it.
async fn once(then_close: bool) -> (Server, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel(2);
    let server = Server::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(ok("{}").as_bytes()).await.unwrap();
            if then_close {
                stream.shutdown().await.unwrap();
            }
            tell.send("answered").await.unwrap();
            assert!(read_request(&mut stream).await.is_none());
            tell.send("closed").await.unwrap();
        }
    })
    .await;
    (server, told)
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_after_its_time_or_when_the_server_closes_it() {
    let short = Duration::from_millis(300);
    for (idle_timeout, then_close) in [(short, false), (PATIENCE, true)] {
        let (server, mut told) = once(then_close).await;
        let limits = Limits {
            idle_timeout,
            ..Limits::default()
        };
        let caller = Caller::with(&open(), limits);
        assert_eq!(caller.answer(&server.url()).await.status, 200);
        for expected in ["answered", "closed"] {
            let heard = tokio::time::timeout(PATIENCE, told.recv()).await;
            assert_eq!(heard.unwrap(), Some(expected));
        }
        drop(caller);
    }
}

#[tokio::test]
async fn a_connection_leads_to_the_host_it_was_made_for_and_to_no_other() {
    let (one, other) = (Server::answering(ok("one")).await, Server::answering(ok("other")).await);
    let caller = Caller::new();
    for (server, expected) in [(&one, "one"), (&other, "other"), (&one, "one")] {
        assert_eq!(caller.answer(&server.url()).await.response.body, expected);
    }
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    let nowhere = "http://127.0.0.1:9";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pool::a_connection_is_used_again"])
        .envs(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"].map(|name| (name, nowhere)))
        .env_remove("NO_PROXY")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && shown.contains("1 passed"), "{shown}");
}
