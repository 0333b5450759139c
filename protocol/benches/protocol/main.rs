//! How long it takes to write and read the messages between our processes.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up should stop at its place")]

mod operation;

use criterion::{Criterion, criterion_group, criterion_main};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmill_protocol::codec::{pack, unpack};

fn messages(criterion: &mut Criterion) {
    message(criterion, "task", &operation::task());
    message(criterion, "record", &operation::record());
}

fn message<T: Serialize + DeserializeOwned>(criterion: &mut Criterion, name: &str, message: &T) {
    let bytes = pack(message).unwrap();
    let mut group = criterion.benchmark_group(format!("codec/{name}"));
    group.bench_function("pack", |b| b.iter_with_large_drop(|| pack(message).unwrap()));
    group.bench_function("unpack", |b| b.iter_with_large_drop(|| unpack::<T>(&bytes).unwrap()));
    group.finish();
}

criterion_group!(protocol, messages);
criterion_main!(protocol);
