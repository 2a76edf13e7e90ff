//! Schemathesis, which makes requests of an `OpenAPI` document: whatever it sends to the management API, no answer is a
//! defect, and each is one that the document describes.

use std::process::Command;

use super::python::interpreter;
use crate::harness::{TestGateway, run};

/// Its command line, by the interpreter that has it.
const DRIVER: &str = "from schemathesis.cli import schemathesis; schemathesis()";

/// Left out: a body can be all that its schema says and make no sense, such as a key that ends in the past.
const EXCLUDED_CHECKS: &str = "positive_data_acceptance";
/// Left out: a list of the account that admits somebody else is put in force, and ends the run.
const EXCLUDED_OPERATION: &str = "putAccountAllowList";

#[test]
fn s91_no_request_makes_the_management_api_answer_what_it_does_not_describe() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    gateway.create_key("acme/alex");
    let arguments = ["--scope", "manage", "--allow", "127.0.0.1", "--allow", "::1"];
    let key = gateway.create_key_with("acme/admin", &arguments);
    let mut command = Command::new(interpreter());
    command.current_dir(gateway.folder()).env("NO_PROXY", "*").args(["-c", DRIVER, "run", "--no-color"]);
    command.arg(format!("{}/api/v1/openapi.json", gateway.console_url()));
    command.args(["--header", &format!("Authorization: {}", key.authorization())]);
    command.args(["--exclude-checks", EXCLUDED_CHECKS, "--exclude-operation-id", EXCLUDED_OPERATION]);
    command.args([
        "--phases",
        "coverage,fuzzing,stateful",
        "--max-examples",
        "4",
        "--seed",
        "1",
        "--no-shrink",
    ]);
    let output = run(&mut command, b"");
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("34 selected"), "{}", output.stdout);
    // Links, resets of MFA and passwords are beyond any key.
    assert!(output.stdout.contains("Authentication failed: 3 operations"), "{}", output.stdout);
}
