//! Writes of one turn of a connection in one piece, and of the turns that follow at once. HTTP/2 writes a frame at a time
//! and flushes between them: a hundred watchers on one connection would cost a hundred TLS records and as many system
//! calls for each change. And the first of them wakes its connection, which comes before the others in the scheduler's
//! order: it waits until they have had their turns.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// No more than this waits, and as much in one piece does not wait at all.
const LIMIT: usize = 32 << 10;

struct Inner<S> {
    stream: S,
    waiting: Vec<u8>,
    /// How much of it is written.
    done: usize,
    /// There are no more turns: whoever has the stream now flushes it.
    over: bool,
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    /// Writes what waits; then the stream is flushed.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.done < self.waiting.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.waiting[self.done..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.done += written;
        }
        // A quiet connection holds no memory.
        self.waiting = vec![];
        self.done = 0;
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

/// A stream whose writes wait for the end of a turn.
pub(super) struct Gather<S>(Arc<Mutex<Inner<S>>>);

impl<S> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Gather(Arc::new(Mutex::new(Inner {
            stream,
            waiting: vec![],
            done: 0,
            over: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives a connection that has this stream; what a turn wrote goes out after it, or, if it `waits`, after the first
    /// of the turns that follow in which nothing is written.
    pub(super) fn turns<C: Future>(&self, connection: C, waits: bool) -> Turns<S, C> {
        Turns {
            stream: Gather(self.0.clone()),
            connection: Box::pin(connection),
            waits,
            held: 0,
        }
    }

    /// The same stream, for the connection.
    pub(super) fn share(&self) -> Self {
        Gather(self.0.clone())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.waiting.len() + data.len() > LIMIT && !inner.waiting.is_empty() {
            ready!(inner.drain(context))?;
        }
        if data.len() >= LIMIT {
            return Pin::new(&mut inner.stream).poll_write(context, data);
        }
        inner.waiting.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.over {
            return inner.drain(context);
        }
        // The turn ends with it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.drain(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if inner.waiting.len() + size > LIMIT && !inner.waiting.is_empty() {
            ready!(inner.drain(context))?;
        }
        if size >= LIMIT {
            return Pin::new(&mut inner.stream).poll_write_vectored(context, parts);
        }
        for part in parts {
            inner.waiting.extend_from_slice(part);
        }
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// A connection whose writes go out turn by turn.
pub(super) struct Turns<S, C> {
    stream: Gather<S>,
    connection: Pin<Box<C>>,
    waits: bool,
    /// What waited after the last turn.
    held: usize,
}

impl<S: AsyncWrite + Unpin, C: Future> Future for Turns<S, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Turns {
            stream,
            connection,
            waits,
            held,
        } = &mut *self;
        let ended = connection.as_mut().poll(context).is_ready();
        let mut inner = stream.lock();
        let waiting = inner.waiting.len();
        let has_grown = waiting > std::mem::replace(held, waiting);
        if *waits && has_grown && inner.done == 0 && !ended {
            // Behind all others that are ready.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        *held = 0;
        // After an upgrade somebody else goes on with the stream.
        inner.over |= ended;
        let broken = matches!(inner.drain(context), Poll::Ready(Err(_)));
        if ended || broken {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Counts the writes that reach it.
    struct Counting(tokio::io::DuplexStream, Arc<Mutex<usize>>);

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            *self.1.lock().unwrap() += 1;
            Pin::new(&mut self.0).poll_write(context, data)
        }
        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn what_a_turn_writes_goes_out_in_one_piece_and_large_pieces_at_once() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let writes = Arc::new(Mutex::new(0));
        let stream = Gather::new(Counting(near, writes.clone()));
        let mut shared = stream.share();
        let connection = async move {
            for _ in 0..100 {
                shared.write_all(b"small").await.unwrap();
                shared.flush().await.unwrap();
            }
            tokio::task::yield_now().await;
            shared.write_all(&[1; 100_000]).await.unwrap();
            shared.write_all(b"end").await.unwrap();
        };
        stream.turns(connection, false).await;
        drop(stream);
        let mut all = vec![];
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 500 + 100_000 + 3);
        assert_eq!(*writes.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn who_waits_writes_after_the_first_turn_without_anything_new() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let writes = Arc::new(Mutex::new(0));
        let stream = Gather::new(Counting(near, writes.clone()));
        let mut shared = stream.share();
        let connection = async move {
            for _ in 0..10 {
                shared.write_all(b"piece").await.unwrap();
                tokio::task::yield_now().await;
            }
            // Nobody else wakes it.
            std::future::pending::<()>().await;
        };
        let turns = tokio::spawn(async move { stream.turns(connection, true).await });
        let mut all = vec![0; 50];
        far.read_exact(&mut all).await.unwrap();
        assert_eq!(*writes.lock().unwrap(), 1);
        turns.abort();
    }
}
