//! The program whose instructions are counted. With the name of an operation it does it, as often as the table says, and
//! all of that within one function, [`counted`]; without, it prints the table.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be set up cannot be counted")]
#![expect(clippy::print_stdout, reason = "the table is asked for by the test that runs this")]

#[path = "../../coordinator/definition/benches/definition/operation.rs"]
mod definition;
#[path = "../../coordinator/engine/benches/engine/operation.rs"]
mod engine;
#[path = "../../protocol/benches/protocol/operation.rs"]
mod protocol;

use std::hint::black_box;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmill_protocol::codec::{pack, unpack};

/// The allocator of the product; the C library's differs from machine to machine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An operation: its name, how often it is done, and how.
type Row = (&'static str, usize, fn(usize));

/// Often enough that what differs from one time to the next (seeds of hash maps, growth of the heap) does not show.
const OPERATIONS: [Row; 17] = [
    ("advance/chain", 200, |times| fold(times, &engine::Case::chain())),
    ("advance/iteration", 200, |times| fold(times, &engine::Case::iteration())),
    ("advance/branch", 10, |times| fold(times, &engine::Case::branch())),
    ("advance/join", 10, |times| fold(times, &engine::Case::join())),
    ("advance/fan-out", 5, |times| {
        let fan_out = engine::FanOut::new();
        measure(times, || (), |()| fan_out.open());
    }),
    ("codec/run/chain/encode", 200, |times| encode(times, &engine::Case::chain())),
    ("codec/run/chain/decode", 200, |times| decode(times, &engine::Case::chain())),
    ("codec/run/branch/encode", 10, |times| encode(times, &engine::Case::branch())),
    ("codec/run/branch/decode", 10, |times| decode(times, &engine::Case::branch())),
    ("codec/task/pack", 200, |times| write(times, &protocol::task())),
    ("codec/task/unpack", 200, |times| read(times, &protocol::task())),
    ("codec/record/pack", 200, |times| write(times, &protocol::record())),
    ("codec/record/unpack", 200, |times| read(times, &protocol::record())),
    ("compile/support-ticket", 10, |times| measure(times, || (), |()| definition::compile())),
    ("expression/path", 200, |times| evaluate(times, &definition::Case::path())),
    ("expression/object", 200, |times| evaluate(times, &definition::Case::object())),
    ("expression/filter", 50, |times| evaluate(times, &definition::Case::filter())),
];

fn main() {
    match std::env::args().nth(1) {
        Some(wanted) => {
            let (_, times, operation) =
                OPERATIONS.iter().find(|(name, ..)| *name == wanted).expect("a name of the table");
            operation(*times);
        }
        None => OPERATIONS.iter().for_each(|(name, times, _)| println!("{name} {times}")),
    }
}

fn fold(times: usize, case: &engine::Case) {
    measure(times, || case.load(), |run| case.fold(run));
}

fn encode(times: usize, case: &engine::Case) {
    let run = case.load();
    measure(times, || (), |()| run.encode().unwrap());
}

fn decode(times: usize, case: &engine::Case) {
    measure(times, || case.stored(), |values| case.read(values));
}

fn evaluate(times: usize, case: &definition::Case) {
    measure(times, || (), |()| case.evaluate());
}

fn write<T: Serialize>(times: usize, message: &T) {
    measure(times, || (), |()| pack(message).unwrap());
}

fn read<T: Serialize + DeserializeOwned>(times: usize, message: &T) {
    let bytes = pack(message).unwrap();
    measure(times, || (), |()| unpack::<T>(&bytes).unwrap());
}

/// Does an operation once, for what is only made the first time, and then as often as is counted.
fn measure<I, O>(times: usize, prepare: impl Fn() -> I, act: impl Fn(I) -> O) {
    black_box(act(prepare()));
    let inputs: Vec<I> = (0..times).map(|_| prepare()).collect();
    let mut outputs = Vec::with_capacity(times);
    counted(inputs, &mut outputs, act);
    black_box(outputs);
}

/// Where the counting begins and ends, by this name.
#[inline(never)]
fn counted<I, O>(inputs: Vec<I>, outputs: &mut Vec<O>, act: impl Fn(I) -> O) {
    for input in inputs {
        outputs.push(black_box(act(black_box(input))));
    }
}
