//! A proxy that ends each connection after so many frames, of either direction, as a peer that dies at a
//! step does: the first after none, the next after one, and so on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    /// Connections so far.
    pub connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// Stands before `to` (host:port). From connection number `whole` on all is passed.
    pub async fn start(to: String, whole: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::AcqRel);
                let limit = if number < whole { number } else { usize::MAX };
                tokio::spawn(pass(near, to.clone(), limit));
            }
        });
        Self { port, connections }
    }
}

async fn pass(near: TcpStream, to: String, limit: usize) {
    if limit == 0 {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let (frames, _) = watch::channel(0);
    let frames = Arc::new(frames);
    // The first to end ends both.
    tokio::select! {
        () = frames_of(near_in, far_out, Arc::clone(&frames), limit) => {}
        () = frames_of(far_in, near_out, frames, limit) => {}
    }
}

async fn frames_of(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    frames: Arc<watch::Sender<usize>>,
    limit: usize,
) {
    let mut heard = frames.subscribe();
    loop {
        let next = async {
            let size = from.read_u32().await.ok()?;
            let mut frame = vec![0; size as usize];
            from.read_exact(&mut frame).await.ok()?;
            Some((size, frame))
        };
        let (size, frame) = tokio::select! {
            Ok(_) = heard.wait_for(|count| *count >= limit) => return,
            Some(next) = next => next,
            else => return,
        };
        let sent = async {
            to.write_u32(size).await?;
            to.write_all(&frame).await
        };
        if sent.await.is_err() {
            return;
        }
        frames.send_modify(|count| *count += 1);
    }
}
