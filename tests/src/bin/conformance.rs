//! The standard's conformance kit and example documents, run against this system; see [`stepmill_tests::conformance`].

use std::process::ExitCode;

fn main() -> ExitCode {
    stepmill_tests::conformance::main()
}
