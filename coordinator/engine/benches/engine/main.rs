//! How long the engine takes: folding events, and writing and reading a run's control state.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up should stop at its place")]

mod operation;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use operation::{Case, FanOut};

fn folding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("advance");
    let cases = [
        ("chain", Case::chain()),
        ("iteration", Case::iteration()),
        ("branch", Case::branch()),
        ("join", Case::join()),
    ];
    for (name, case) in cases {
        group.bench_function(name, |b| b.iter_batched(|| case.load(), |run| case.fold(run), BatchSize::SmallInput));
    }
    let fan_out = FanOut::new();
    group.bench_function("fan-out", |b| b.iter_with_large_drop(|| fan_out.open()));
    group.finish();
}

fn storing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (name, case) in [("chain", Case::chain()), ("branch", Case::branch())] {
        let run = case.load();
        group.bench_function(format!("run/{name}/encode"), |b| b.iter(|| run.encode().unwrap()));
        group.bench_function(format!("run/{name}/decode"), |b| {
            b.iter_batched(|| case.stored(), |values| case.read(values), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(engine, folding, storing);
criterion_main!(engine);
