//! How long the language takes: compiling a definition, and evaluating expressions.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up should stop at its place")]

mod operation;

use criterion::{Criterion, criterion_group, criterion_main};

use operation::Case;

fn compiling(criterion: &mut Criterion) {
    criterion.bench_function("compile/support-ticket", |b| b.iter_with_large_drop(operation::compile));
}

fn evaluating(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expression");
    for (name, case) in [("path", Case::path()), ("object", Case::object()), ("filter", Case::filter())] {
        group.bench_function(name, |b| b.iter_with_large_drop(|| case.evaluate()));
    }
    group.finish();
}

criterion_group!(definition, compiling, evaluating);
criterion_main!(definition);
