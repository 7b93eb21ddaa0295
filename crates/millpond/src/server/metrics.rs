//! `/metrics`: counts and latencies of requests, and what the process costs, as Prometheus text.

use crate::machine;
use anyhow::{Context, Result};
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use millpond_service::{Error, Kind};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

const SECONDS: &str = "millpond_request_duration_seconds";
const REQUESTS: &str = "millpond_requests_total";
const RECEIVED: &str = "millpond_received_bytes_total";
const SENT: &str = "millpond_sent_bytes_total";
const CONNECTIONS: &str = "millpond_connections";
const SHED_REQUESTS: &str = "millpond_requests_shed_total";
const SHED: &str = "millpond_connections_shed_total";
const WRITES_REFUSED: &str = "millpond_writes_refused";
const UNFOLDABLE: &str = "millpond_branches_unfoldable";

/// From a cached read to a long upload.
const BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The recorder of this process.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
    /// By door, operation and status class. To look an instrument up by its labels costs more than to use it.
    instruments: Arc<RwLock<HashMap<[&'static str; 3], Instruments>>>,
}

/// What measures one kind of request.
#[derive(Clone)]
struct Instruments {
    requests: Counter,
    seconds: Histogram,
    received: Counter,
    sent: Counter,
}

impl Metrics {
    /// Installs the recorder, from when on everything that any crate measures is kept. Once per process.
    ///
    /// # Errors
    /// There is one already.
    pub fn install() -> Result<Self> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(SECONDS.to_owned()), BUCKETS)
            .context("set up the metrics")?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| anyhow::anyhow!("metrics are set up already"))?;
        describe_counter!(REQUESTS, "Requests answered, by door, operation and status class");
        describe_histogram!(SECONDS, "Time from the head of a request to the end of its response");
        describe_counter!(RECEIVED, "Bytes of request bodies");
        describe_counter!(SENT, "Bytes of response bodies");
        describe_gauge!(CONNECTIONS, "Open connections");
        describe_counter!(SHED, "Connections refused because there were too many");
        describe_counter!(
            SHED_REQUESTS,
            "Requests refused because there was too much to do, by what there was too much of"
        );
        describe_gauge!(
            WRITES_REFUSED,
            "1 while no change is accepted: busy ends by itself (a full disk when there is room), failed by a restart"
        );
        describe_gauge!(
            UNFOLDABLE,
            "Branches whose staged changes cannot be made a tree; the journal grows until that is mended"
        );
        describe_gauge!("process_resident_memory_bytes", "Resident memory of the process");
        describe_gauge!("process_open_fds", "Open file descriptors");
        describe_gauge!("process_threads", "Threads");
        // Present from the start, so that a graph shows zero instead of nothing.
        counter!(SHED).increment(0);
        gauge!(CONNECTIONS).set(0.0);
        gauge!("millpond_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { recorder: handle, instruments: Arc::default() })
    }

    /// Sorts recorded times into their buckets every few seconds. Without it they would pile up in memory
    /// until somebody reads `/metrics`. Never ends.
    pub async fn keep_up(self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            self.recorder.run_upkeep();
        }
    }

    /// The text of now.
    pub fn render(&self, health: &Result<(), Error>, unfoldable_branches: usize) -> String {
        gauge!(UNFOLDABLE).set(unfoldable_branches as f64);
        let kind = health.as_ref().err().map(|error| error.kind);
        for (reason, refuses) in [("busy", Kind::Busy), ("failed", Kind::Internal)] {
            gauge!(WRITES_REFUSED, "reason" => reason).set(f64::from(u8::from(kind == Some(refuses))));
        }
        let usage = machine::usage();
        gauge!("process_resident_memory_bytes").set(usage.resident_bytes as f64);
        gauge!("process_open_fds").set(usage.open_files as f64);
        gauge!("process_threads").set(usage.threads as f64);
        self.recorder.run_upkeep();
        let mut text = self.recorder.render();
        // The recorder's counters are whole numbers; CPU time is not.
        text.push_str(&format!(
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {:.2}\n",
            usage.cpu_seconds
        ));
        text
    }

    /// Counts a finished request.
    pub fn request(
        &self,
        door: &'static str,
        operation: &'static str,
        status: u16,
        took: Duration,
        received: u64,
        sent: u64,
    ) {
        let class = match status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let kind = [door, operation, class];
        let known = self.instruments.read().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
        let instruments = known.unwrap_or_else(|| {
            let new = Instruments {
                requests: counter!(REQUESTS, "door" => door, "operation" => operation, "status" => class),
                seconds: histogram!(SECONDS, "door" => door, "operation" => operation, "status" => class),
                received: counter!(RECEIVED, "door" => door),
                sent: counter!(SENT, "door" => door),
            };
            self.instruments.write().unwrap_or_else(PoisonError::into_inner).insert(kind, new.clone());
            new
        });
        instruments.requests.increment(1);
        instruments.seconds.record(took.as_secs_f64());
        instruments.received.increment(received);
        instruments.sent.increment(sent);
    }
}

/// A connection that is open as long as this lives.
pub struct OpenConnection(());

impl OpenConnection {
    /// Counts one more.
    pub fn new() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// A connection was refused.
pub fn shed_connection() {
    counter!(SHED).increment(1);
}

/// A request was refused.
pub fn shed_request(reason: &'static str) {
    counter!(SHED_REQUESTS, "reason" => reason).increment(1);
}
