//! A road to the server on which requests and replies get lost.
//!
//! Clients keep one address while the server behind it is killed and comes back on another port.

use millpond_bench::chance::Chance;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PIECE_BYTES: usize = 16 * 1024;

/// How bad the road is. One in so many pieces; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Requests that do not reach the server.
    pub requests_one_in: u64,
    /// Replies that do not reach the client, though the server did what was asked.
    pub replies_one_in: u64,
}

/// The road.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    inner: Rc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

struct Inner {
    server: Cell<Option<SocketAddr>>,
    loss: Cell<Loss>,
    lost: Cell<u64>,
    chance: RefCell<Chance>,
}

impl Inner {
    fn loses(&self, one_in: u64) -> bool {
        let loses = one_in != 0 && self.chance.borrow_mut().one_in(one_in);
        self.lost.set(self.lost.get() + u64::from(loses));
        loses
    }
}

impl Proxy {
    /// Opens the road; it leads nowhere yet. Call within a [`tokio::task::LocalSet`].
    pub async fn open(seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let inner = Rc::new(Inner {
            server: Cell::new(None),
            loss: Cell::default(),
            lost: Cell::new(0),
            chance: RefCell::new(Chance::new(seed)),
        });
        let shared = inner.clone();
        let task = tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::task::spawn_local(carry(client, shared.clone()));
            }
        });
        Ok(Self { address, inner, task })
    }

    /// Leads to this server from now on, or nowhere.
    pub fn lead_to(&self, server: Option<SocketAddr>) {
        self.inner.server.set(server);
    }

    /// Sets how much is lost from now on.
    pub fn lose(&self, loss: Loss) {
        self.inner.loss.set(loss);
    }

    /// How many requests and replies were lost.
    pub fn lost(&self) -> u64 {
        self.inner.lost.get()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection until one side ends or something is lost; both sides are then closed.
async fn carry(mut client: TcpStream, inner: Rc<Inner>) {
    let Some(address) = inner.server.get() else { return };
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (mut up, mut down) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let loss = inner.loss.get();
        let carried = tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(length) if length > 0 && !inner.loses(loss.requests_one_in) => server.write_all(&up[..length]).await,
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(length) if length > 0 && !inner.loses(loss.replies_one_in) => client.write_all(&down[..length]).await,
                _ => return,
            },
        };
        if carried.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client gets that sends "ping" to a server which answers "pong", and what the server got.
    async fn exchange(loss: Loss) -> (Vec<u8>, Vec<u8>) {
        let local = tokio::task::LocalSet::new();
        let work = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let proxy = Proxy::open(1).await.expect("a port");
            proxy.lead_to(Some(listener.local_addr().expect("an address")));
            proxy.lose(loss);
            let serve = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut got = vec![0; 16];
                let length = stream.read(&mut got).await.unwrap_or(0);
                got.truncate(length);
                drop(stream.write_all(b"pong").await);
                got
            };
            let ask = async {
                let mut stream = TcpStream::connect(proxy.address).await.expect("connects");
                stream.write_all(b"ping").await.expect("sent");
                let mut got = Vec::new();
                drop(stream.read_to_end(&mut got).await);
                got
            };
            tokio::join!(ask, serve)
        };
        local.run_until(work).await
    }

    #[tokio::test]
    async fn a_good_road_carries_both_ways() {
        assert_eq!(exchange(Loss::default()).await, (b"pong".to_vec(), b"ping".to_vec()));
    }

    #[tokio::test]
    async fn a_lost_request_never_arrives_and_a_lost_reply_was_a_request_that_did() {
        let requests = Loss { requests_one_in: 1, replies_one_in: 0 };
        assert_eq!(exchange(requests).await, (vec![], vec![]));
        let replies = Loss { requests_one_in: 0, replies_one_in: 1 };
        assert_eq!(exchange(replies).await, (vec![], b"ping".to_vec()));
    }
}
