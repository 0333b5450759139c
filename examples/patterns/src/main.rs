//! The worker of the patterns: connects to NATS and serves their steps until it is told to stop.
//!
//! ```text
//! patterns-worker [NATS URL]
//! ```

use std::error::Error;
use std::sync::Arc;

use stepmill_example_patterns::steps;
use stepmill_nats::{Nats, NatsOptions, NatsWorkerLink};
use stepmill_worker::{Worker, shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url = std::env::args().nth(1).unwrap_or_else(|| "nats://127.0.0.1:4222".into());
    // A worker needs no right to ask about JetStream as such.
    let options = NatsOptions { check_jetstream: false, ..NatsOptions::new(&url, "patterns-worker") };
    let link = Arc::new(NatsWorkerLink::new(Nats::connect(options).await?));
    steps(Worker::builder(link)).run(shutdown::on_signal()).await?;
    Ok(())
}
