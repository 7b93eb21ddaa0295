//! Closed-loop load: each client sends its next request when the answer to the last one is complete.
//!
//! All clients live on one thread, so that a machine with two cores has one left for the server.

use crate::server::{Server, Usage};
use crate::wire::Connection;
use anyhow::Result;
use futures::future::join_all;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// When a load ends: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// This many operations.
    pub operations: u64,
    /// No operation starts after this time.
    pub time: Duration,
}

/// What a load did and what it cost.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that did not.
    pub failures: u64,
    /// What the first of them said.
    pub first_failure: Option<String>,
    /// Time in which operations ran.
    pub wall: Duration,
    /// CPU time of the server in that time.
    pub server_cpu: Duration,
    /// CPU time of the load generator in that time.
    pub client_cpu: Duration,
    /// Bytes the server caused to be written in that time.
    pub written_bytes: u64,
    /// By how much the server's data folder has grown on disk, preparations included; blocks are freed as well.
    pub disk_bytes: Option<i64>,
    /// Resident memory of the server afterwards.
    pub resident_bytes: u64,
    /// Microseconds of each operation that succeeded, in order.
    pub latencies: Vec<u32>,
}

impl Measured {
    /// The latency in milliseconds that the given share of operations did not exceed.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (share * last as f64).round() as usize;
        self.latencies.get(index).map_or(f64::NAN, |&micros| f64::from(micros) / 1000.0)
    }
}

/// Keeps `clients` connections busy with operations numbered from 0.
pub async fn closed_loop(
    server: &Server,
    clients: usize,
    limit: Limit,
    operation: impl AsyncFn(&mut Connection, u64) -> Result<()>,
) -> Result<Measured> {
    let next = Cell::new(0);
    let measured = RefCell::new(Measured::default());
    let meter = Meter::start(server)?;
    let client = async || {
        let mut connection = Connection::new(server.site.address);
        loop {
            let number = next.get();
            if number >= limit.operations || meter.started.elapsed() >= limit.time {
                return;
            }
            next.set(number + 1);
            let sent = Instant::now();
            let outcome = operation(&mut connection, number).await;
            measured.borrow_mut().record(sent.elapsed(), outcome);
        }
    };
    join_all((0..clients).map(|_| client())).await;
    let mut measured = measured.into_inner();
    meter.stop(server, &mut measured)?;
    measured.latencies.sort_unstable();
    Ok(measured)
}

/// One operation after the other, each with a preparation that is not measured.
pub async fn one_by_one<T>(
    server: &Server,
    operations: u64,
    prepare: impl AsyncFn(&mut Connection, u64) -> Result<T>,
    operation: impl AsyncFn(&mut Connection, T) -> Result<()>,
) -> Result<Measured> {
    let mut connection = Connection::new(server.site.address);
    let mut measured = Measured::default();
    for number in 0..operations {
        let prepared = prepare(&mut connection, number).await?;
        let meter = Meter::start(server)?;
        let outcome = operation(&mut connection, prepared).await;
        measured.record(meter.started.elapsed(), outcome);
        meter.stop(server, &mut measured)?;
    }
    measured.latencies.sort_unstable();
    Ok(measured)
}

impl Measured {
    /// Counts an operation.
    pub fn record(&mut self, took: Duration, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.operations += 1;
                self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            Err(error) => {
                self.failures += 1;
                self.first_failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

/// What server and load generator use between two moments.
pub struct Meter {
    /// When it began.
    pub started: Instant,
    server: Usage,
    client: Usage,
}

impl Meter {
    /// From now.
    pub fn start(server: &Server) -> Result<Self> {
        Ok(Self { server: server.usage()?, client: Usage::of("self")?, started: Instant::now() })
    }
    /// Until now.
    pub fn stop(&self, server: &Server, into: &mut Measured) -> Result<()> {
        into.wall += self.started.elapsed();
        let (used, own) = (server.usage()?, Usage::of("self")?);
        into.server_cpu += used.cpu.saturating_sub(self.server.cpu);
        into.client_cpu += own.cpu.saturating_sub(self.client.cpu);
        into.written_bytes += used.written_bytes.saturating_sub(self.server.written_bytes);
        into.resident_bytes = used.resident_bytes;
        Ok(())
    }
}
