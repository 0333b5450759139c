//! What the pure parts cost, in instructions: a gate that the machine's noise does not reach. A small program does what the
//! criterion benches do, callgrind counts, and the counts are held against those recorded in `counts.txt`.
#![expect(clippy::unwrap_used, reason = "a broken gate should stop the test at its place")]

mod callgrind;
mod counts;

use callgrind::Program;
use counts::Counts;

#[test]
fn no_operation_costs_more_instructions_than_recorded() {
    let here = counts::toolchain();
    let recorded = Counts::read();
    let rewrite = std::env::var_os("STEPMILL_REWRITE").is_some();
    if !rewrite && recorded.target() != here.target {
        eprintln!("SKIPPED: the counts were recorded for {}, this is {}", recorded.target(), here.target);
        return;
    }
    let Some(valgrind) = callgrind::valgrind() else {
        eprintln!("SKIPPED: instructions are not counted, there is no valgrind (Debian: apt-get install valgrind)");
        return;
    };
    let program = Program::build(valgrind);
    let counted: Vec<(String, u64)> =
        program.operations().into_iter().map(|(name, times)| (name.clone(), program.count(&name) / times)).collect();
    if rewrite {
        counts::write(&here, &counted);
        return;
    }
    let verdict = recorded.compare(&here, &counted);
    eprintln!("{}", verdict.table);
    assert!(
        verdict.wrong.is_empty(),
        "{}\nWhere they are spent: callgrind_annotate {}/advance-chain.out, and so on\nWhen the change is wanted: \
         STEPMILL_REWRITE=1 cargo nextest run -p stepmill-instructions; read the difference before you keep it",
        verdict.wrong,
        callgrind::folder().display(),
    );
}
