//! `latchkey isproxy`: a small client of the line protocol.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use rustls::RootCertStore;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::isproxy_client::{AskOptions, Security, ask, load_ca_file};
use super::{UsageError, prompt};
use crate::model::Secret;

/// Ask an IsProxy whether domains are available
///
/// Goes through STARTTLS unless told otherwise. Without domains it reads them from stdin, one a line.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: latchkey isproxy localhost:8702 --ca .latchkey-demo/certs/ca.crt --key-stdin example.com < my.key"
)]
pub(super) struct IsProxyArguments {
    /// HOST:PORT; the port is 2001 where none is given
    address: String,
    /// Whom to believe about the server's certificate (PEM)
    #[arg(long, value_name = "FILE", required_unless_present = "plaintext")]
    ca: Option<PathBuf>,
    /// Send the key in clear
    #[arg(long, conflicts_with = "ca")]
    plaintext: bool,
    /// Read the key from the first line of stdin
    #[arg(long)]
    key_stdin: bool,
    /// Names to ask for
    domains: Vec<String>,
}

pub(super) fn run(arguments: IsProxyArguments) -> Result<()> {
    let security = match &arguments.ca {
        Some(path) => Security::StartTls(certificates(path)?),
        None => Security::Plaintext,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut stdin = BufReader::new(tokio::io::stdin());
        let key = match arguments.key_stdin {
            true => {
                let mut line = String::new();
                stdin.read_line(&mut line).await.context("the key cannot be read from stdin")?;
                Secret::new(line)
            }
            false if prompt::is_interactive() => prompt::read_key()?,
            false => {
                return Err(
                    UsageError(String::from("whose key? give --key-stdin and the key on stdin")).into()
                );
            }
        };
        let more = arguments.domains.is_empty().then_some(stdin);
        let options = AskOptions { address: arguments.address, security, key, domains: arguments.domains };
        ask(&options, more, &mut io::stdout()).await?;
        anyhow::Ok(())
    });
    // A read of stdin may still wait in its thread; nobody needs it.
    runtime.shutdown_background();
    result
}

fn certificates(path: &Path) -> Result<Arc<RootCertStore>> {
    load_ca_file(path).with_context(|| format!("the CA file {} cannot be used", path.display()))
}
