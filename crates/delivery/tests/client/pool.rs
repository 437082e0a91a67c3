//! Which connection a request gets.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::servers::{Caller, PATIENCE, Server, answered, ok, post, read_request};

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
