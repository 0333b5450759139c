//! The results as JUnit XML, for CI servers.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report as JunitReport, TestCase, TestCaseStatus, TestSuite};
use stepmill_testing::Outcome;

use super::report::{Ran, Report, shown_place};
use crate::error::CliError;

/// Writes them.
pub(super) fn write(report: &Report<'_>, file: &Path) -> Result<(), CliError> {
    let cannot = |why: String| CliError::new(format!("cannot write {}: {why}", file.display()));
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| cannot(e.to_string()))?;
    }
    let text = xml(report).to_string().map_err(|e| cannot(e.to_string()))?;
    std::fs::write(file, text).map_err(|e| cannot(e.to_string()))
}

fn xml(report: &Report<'_>) -> JunitReport {
    let mut all = JunitReport::new("stepmill test");
    all.set_time(report.took);
    for ran in &report.files {
        let mut suite = TestSuite::new(ran.file.name.clone());
        for outcome in &ran.outcomes {
            suite.add_test_case(case(ran, outcome));
        }
        all.add_test_suite(suite);
    }
    for wrong in &report.wrong {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("wrong-file").set_message(wrong.mistakes.to_string());
        let mut suite = TestSuite::new(wrong.name.clone());
        suite.add_test_case(TestCase::new("the file is in order", status));
        all.add_test_suite(suite);
    }
    all
}

fn case(ran: &Ran<'_>, outcome: &Outcome) -> TestCase {
    let status = match outcome.failures.as_slice() {
        [] => TestCaseStatus::success(),
        [first, ..] => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let all: Vec<String> =
                outcome.failures.iter().map(|f| format!("{}: {f}", shown_place(ran, &f.place))).collect();
            status.set_type(first.code).set_message(first.message.clone()).set_description(all.join("\n"));
            status
        }
    };
    let mut case = TestCase::new(outcome.case.clone(), status);
    case.set_classname(ran.file.of.clone());
    case
}
