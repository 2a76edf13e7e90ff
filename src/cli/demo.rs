//! `latchkey demo`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{UsageError, output};
use crate::demo::{Demo, DemoOptions, EarlierData, LoadKeys, Report};
use crate::telemetry::init_logging;

/// Run everything in one process: sample upstreams, the gateway, the console, a customer with a key
///
/// Ports from --port-base: +0 API, +1 API over TLS, +2 IsProxy, +3 the console, +4 ops, +5 and +6 the sample upstreams.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey demo --port-base 9700 --data-dir /tmp/demo")]
pub(super) struct DemoArguments {
    /// Where everything is kept; a second start uses the same data
    #[arg(long, value_name = "FOLDER", default_value = ".latchkey-demo")]
    data_dir: PathBuf,
    /// A loopback address
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The first of seven ports; 0 takes any free ones
    #[arg(long, value_name = "PORT", default_value_t = 8700)]
    port_base: u16,
    /// Make so many more keys, for a load test
    #[arg(long, value_name = "N", requires = "keys_file")]
    keys: Option<NonZeroU32>,
    /// Where to write those keys, a line `KEY CUSTOMER/LOGIN` each; the file must not exist
    #[arg(long, value_name = "FILE", requires = "keys")]
    keys_file: Option<PathBuf>,
    /// Delete the data of earlier starts first
    #[arg(long)]
    reset: bool,
    /// Print one line of JSON once everything is ready
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: DemoArguments) -> Result<()> {
    if !arguments.address.is_loopback() {
        let text = format!("--address {} is not a loopback address; use 127.0.0.1 or ::1", arguments.address);
        return Err(UsageError(text).into());
    }
    init_logging();
    let load_keys = arguments.keys.zip(arguments.keys_file).map(|(count, file)| LoadKeys { count, file });
    let demo = Demo::start(&DemoOptions {
        data_dir: arguments.data_dir,
        address: arguments.address,
        port_base: arguments.port_base,
        load_keys,
        earlier_data: if arguments.reset { EarlierData::Delete } else { EarlierData::Keep },
    })?;
    output::data(&if arguments.json { as_json(demo.report()) } else { as_text(demo.report()) })?;
    demo.run_until_signal()
}

fn as_json(report: &Report) -> String {
    let credentials = report.credentials.as_ref();
    json!({
        "api": report.api,
        "api_tls": report.api_tls,
        "isproxy": report.isproxy.to_string(),
        "console": report.console,
        "ops": report.ops,
        "ca_certificate": report.ca_certificate,
        "user": report.user,
        "password": credentials.map(|credentials| credentials.password.expose()),
        "api_key": credentials.map(|credentials| credentials.api_key.expose()),
        "config": report.config,
    })
    .to_string()
}

fn as_text(report: &Report) -> String {
    let (ca, config) = (report.ca_certificate.display(), report.config.display());
    let Report { api, api_tls, isproxy, console, ops, user, .. } = report;
    // As it was called, so that what is printed can be pasted where `latchkey` is in no PATH.
    let latchkey = std::env::args().next().unwrap_or_else(|| String::from("latchkey"));
    let places = format!(
        "Latchkey is ready.\n\n  API             {api}\n  API over TLS    {api_tls}\n  IsProxy         {isproxy}\n  \
         console         {console}\n  ops             {ops}\n  CA certificate  {ca}\n  configuration   {config}\n"
    );
    let Some(credentials) = &report.credentials else {
        return format!(
            "{places}\nThe credentials were shown at the first start. For another key:\n\n  \
             {latchkey} key create {user} --description test --scope api,isproxy --config {config}\n"
        );
    };
    let (password, key) = (credentials.password.expose(), credentials.api_key.expose());
    format!(
        "{places}  user            {user}\n  password        {password}\n  API key         {key}\n\n\
         The password and the key are shown this once. Try:\n\n  \
         curl -H 'Authorization: ApiKey {key}' {api}/v2/domains/example.com/check\n  \
         echo {key} | {latchkey} isproxy localhost:{port} --ca {ca} --key-stdin example.com taken.com\n  \
         printf 'LOGIN {key}\\r\\nIS example.com\\r\\nCLOSE\\r\\n' | nc {ip} {port}\n",
        ip = isproxy.ip(),
        port = isproxy.port(),
    )
}
