//! The worker of the example: connects to NATS and serves the shop's steps until it is told to stop. The model's calls
//! (`call: llm`) are served by `stepmill dev` or `stepmill worker`.
//!
//! ```text
//! support-ticket-worker [NATS URL] [FILE OF THE STORE]
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use stepmill_example_support_ticket::{ORDERS, Store, steps};
use stepmill_nats::{Nats, NatsOptions, NatsWorkerLink};
use stepmill_worker::{Health, Worker, shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "nats://127.0.0.1:4222".into());
    let store = match args.next() {
        Some(path) => Store::open(Path::new(&path))?,
        None => Store::in_memory()?,
    };
    store.seed(ORDERS)?;

    // A worker needs no right to ask about JetStream as such.
    let options = NatsOptions { check_jetstream: false, ..NatsOptions::new(&url, "support-ticket-worker") };
    let link = Arc::new(NatsWorkerLink::new(Nats::connect(options).await?));
    let mut worker = steps(&store)(Worker::builder(link));
    // `/live`, `/ready` and `/metrics`, where the environment says so.
    if let Ok(address) = std::env::var("STEPMILL_HTTP") {
        worker = worker.health(&Health::serve(address.parse()?)?);
    }
    worker.run(shutdown::on_signal()).await?;
    Ok(())
}
