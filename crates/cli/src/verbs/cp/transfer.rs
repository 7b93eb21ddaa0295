//! One transfer: read here, write there. A local file appears whole or not at all; an upload that a busy
//! server or a broken connection cut short is made again from the start.

use super::plan::Transfer;
use super::progress::Progress;
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::local::{self, NewFile};
use crate::session::Session;
use crate::uri::{Location, ObjectUri};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use millpond_client::{Body, Client, Error, ObjectBody, UploadOptions};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

/// Up to this size a file is read and sent in one piece.
const WHOLE_BYTES_MAX: u64 = 1 << 20;
const CHUNK_BYTES: usize = 256 << 10;
/// Waits before the second, third and fourth try of an upload.
const RETRY_MILLIS: [u64; 3] = [200, 1_000, 3_000];

/// What goes with every upload.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub content_type: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub must_not_exist: bool,
}

/// Carries it out; returns the bytes moved.
pub(super) async fn run(
    session: &Session,
    transfer: &Transfer,
    options: &Options,
    progress: &Progress,
) -> Result<u64, Failure> {
    let client = session.client()?;
    match (&transfer.source, &transfer.destination) {
        (Location::Local(path), Location::Remote(to)) => {
            upload_file(client, path, to, options, progress).await
        }
        (Location::Standard, Location::Remote(to)) => upload_stdin(client, to, options, progress).await,
        (Location::Remote(from), Location::Local(path)) => download(client, from, path, progress).await,
        (Location::Remote(from), Location::Standard) => {
            let object = open(client, from).await?;
            write_stream(object, progress, |chunk| session.output.bytes(&chunk)).await
        }
        (Location::Remote(from), Location::Remote(to)) => {
            copy(client, from, to, transfer, options, progress).await
        }
        (Location::Local(_) | Location::Standard, Location::Local(_) | Location::Standard) => {
            Err(Failure::usage("neither end of the copy is in a repository"))
        }
    }
}

/// Whether the server could not be reached at all.
pub(super) fn is_unreachable(failure: &Failure) -> bool {
    failure.exit == Exit::Failed && failure.message.contains(": cannot connect: ")
}

impl Options {
    fn upload(&self, size_bytes: Option<u64>) -> UploadOptions {
        UploadOptions {
            content_type: self.content_type.clone(),
            metadata: self.metadata.clone(),
            size_bytes,
            must_not_exist: self.must_not_exist,
        }
    }
}

async fn upload_file(
    client: &Client,
    path: &Path,
    to: &ObjectUri,
    options: &Options,
    progress: &Progress,
) -> Result<u64, Failure> {
    need_path(to)?;
    let unreadable = |error: io::Error| Failure::local(&format!("read {}", path.display()), &error);
    let mut waits = RETRY_MILLIS.into_iter();
    loop {
        let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
        let (body, upload) = if size <= WHOLE_BYTES_MAX {
            let owned = path.to_owned();
            let bytes = tokio::task::spawn_blocking(move || local::read(&owned))
                .await
                .unwrap_or_else(|e| Err(io::Error::other(e)))
                .map_err(unreadable)?;
            let size = bytes.len() as u64;
            (Body::from(bytes), options.upload(Some(size)))
        } else {
            let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
            // A file that grows meanwhile is copied as long as it was; one that shrinks fails the upload.
            let stream = ReaderStream::with_capacity(file.take(size), CHUNK_BYTES);
            (Body::wrap_stream(stream), options.upload(Some(size)))
        };
        let moved = upload.size_bytes.unwrap_or(0);
        match client.upload_object(&to.repository, &to.reference, &to.path, &upload, body).await {
            Ok(_) => {
                progress.bytes_done(moved);
                return Ok(moved);
            }
            // A conditional write that was cut off may have happened: a second try would then fail.
            Err(error)
                if error.is_transient() && !options.must_not_exist && !is_refused_connection(&error) =>
            {
                match waits.next() {
                    Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                    None => return Err(error).in_repository(&to.repository),
                }
            }
            Err(error) => return Err(error).in_repository(&to.repository),
        }
    }
}

/// Nobody listening will not change within seconds.
fn is_refused_connection(error: &Error) -> bool {
    matches!(error, Error::Unreachable { source, .. } if source.is_connect())
}

async fn upload_stdin(
    client: &Client,
    to: &ObjectUri,
    options: &Options,
    progress: &Progress,
) -> Result<u64, Failure> {
    need_path(to)?;
    let sent = Arc::new(AtomicU64::new(0));
    let stream = count(ReaderStream::with_capacity(tokio::io::stdin(), CHUNK_BYTES), &sent);
    client
        .upload_object(
            &to.repository,
            &to.reference,
            &to.path,
            &options.upload(None),
            Body::wrap_stream(stream),
        )
        .await
        .in_repository(&to.repository)?;
    let sent = sent.load(Ordering::Relaxed);
    progress.bytes_done(sent);
    Ok(sent)
}

async fn open(client: &Client, from: &ObjectUri) -> Result<ObjectBody, Failure> {
    client
        .get_object(&from.repository, &from.reference, &from.path, None)
        .await
        .in_repository(&from.repository)
}

async fn download(
    client: &Client,
    from: &ObjectUri,
    path: &Path,
    progress: &Progress,
) -> Result<u64, Failure> {
    let unwritable = |error: io::Error| Failure::local(&format!("write {}", path.display()), &error);
    let object = open(client, from).await?;
    let owned = path.to_owned();
    if object.size_bytes().is_some_and(|size| size <= WHOLE_BYTES_MAX) {
        // A small file is written in one visit to the thread that may block.
        let mut whole = Vec::new();
        let size = write_stream(object, progress, |chunk| {
            whole.extend_from_slice(&chunk);
            Ok(())
        })
        .await?;
        blocking(move || {
            let mut file = NewFile::create(&owned)?;
            file.write(&whole)?;
            file.publish()
        })
        .await
        .map_err(unwritable)?;
        return Ok(size);
    }
    let mut file = blocking(move || NewFile::create(&owned)).await.map_err(unwritable)?;
    let mut size = 0;
    let mut stream = object.into_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        let bytes = chunk.len() as u64;
        file = blocking(move || {
            file.write(&chunk)?;
            Ok(file)
        })
        .await
        .map_err(unwritable)?;
        size += bytes;
        progress.bytes_done(bytes);
    }
    blocking(move || file.publish()).await.map_err(unwritable)?;
    Ok(size)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}

async fn write_stream(
    object: ObjectBody,
    progress: &Progress,
    mut write: impl FnMut(Bytes) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut size = 0;
    let mut stream = object.into_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        let bytes = chunk.len() as u64;
        write(chunk)?;
        size += bytes;
        progress.bytes_done(bytes);
    }
    Ok(size)
}

/// Within a repository the server copies; between repositories the bytes pass through here.
async fn copy(
    client: &Client,
    from: &ObjectUri,
    to: &ObjectUri,
    transfer: &Transfer,
    options: &Options,
    progress: &Progress,
) -> Result<u64, Failure> {
    need_path(to)?;
    let changed = options.content_type.is_some() || !options.metadata.is_empty() || options.must_not_exist;
    if from.repository == to.repository && !changed {
        let copied = client
            .copy_object(&from.repository, &from.reference, &from.path, &to.reference, &to.path)
            .await
            .in_repository(&to.repository)?;
        let size = copied.size_bytes.unwrap_or(0);
        progress.bytes_done(size);
        return Ok(size);
    }
    let stats = match &transfer.stats {
        Some(stats) => stats.as_ref().clone(),
        None => client
            .stat_object(&from.repository, &from.reference, &from.path)
            .await
            .in_repository(&from.repository)?,
    };
    let object = open(client, from).await?;
    let mut upload = options.upload(object.size_bytes());
    upload.content_type = upload.content_type.or(stats.content_type);
    for (key, value) in stats.metadata {
        upload.metadata.entry(key).or_insert(value);
    }
    let sent = Arc::new(AtomicU64::new(0));
    let stream = count(object.into_stream(), &sent);
    client
        .upload_object(&to.repository, &to.reference, &to.path, &upload, Body::wrap_stream(stream))
        .await
        .in_repository(&to.repository)?;
    let sent = sent.load(Ordering::Relaxed);
    progress.bytes_done(sent);
    Ok(sent)
}

/// Counts the bytes that pass.
fn count<S, E>(stream: S, sent: &Arc<AtomicU64>) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Send + 'static,
{
    let sent = Arc::clone(sent);
    stream.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    })
}

fn need_path(to: &ObjectUri) -> Result<(), Failure> {
    if to.path.is_empty() {
        return Err(Failure::usage(format!("{to} names no object")));
    }
    Ok(())
}
