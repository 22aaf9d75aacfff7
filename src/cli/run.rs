//! `myelin run`: deploys a directory and serves it.

use super::backend::{Backend, BackendOptions};
use super::{logging, stop};
use crate::server::{Options, Server};
use crate::settings;
use anyhow::Context;
use std::path::PathBuf;
use tokio::time::Instant;

/// Ports of the embedded sample back-ends.
const SAMPLE_PORTS: [u16; 3] = [9001, 9002, 9003];

/// Arguments of `myelin run`.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// Directory with artifacts; changes in it are deployed at once
    #[arg(long, value_name = "DIR", default_value = "deployment")]
    deployment: PathBuf,
    /// Settings file in the format of MI's deployment.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port of the HTTP listener; 0 picks a free one [default: 8290]
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Port of the HTTPS listener; 0 picks a free one [default: 8253]
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    /// Port of the management API (HTTPS, on loopback); 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 9164)]
    management_port: u16,
    /// Port of health and endpoint states; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 9201)]
    internal_port: u16,
    /// Also start three sample back-ends on 9001, 9002 and 9003
    #[arg(long)]
    sample_backends: bool,
}

/// Runs until Ctrl-C or SIGTERM, then drains.
///
/// # Errors
/// When settings, ports, certificates or the directory cannot be used.
pub fn main(args: RunArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    logging::start();
    // Messages run on the workers' own runtimes; this one deploys and serves the other ports.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(args, started))
}

async fn run(args: RunArgs, started: Instant) -> anyhow::Result<()> {
    let (mut settings, warnings) = settings::load(args.config.as_deref())?;
    for warning in warnings {
        tracing::warn!(target: "Settings", "{warning}");
    }
    if let Some(port) = args.http_port {
        settings.http.port = port;
    }
    if let Some(port) = args.https_port {
        settings.http.secured_port = port;
    }
    let mut backends = Vec::new();
    if args.sample_backends {
        for port in SAMPLE_PORTS {
            let options = BackendOptions {
                port,
                ..BackendOptions::default()
            };
            let backend = Backend::start(options)
                .await
                .with_context(|| format!("cannot start the sample back-end on port {port}"))?;
            tracing::info!(target: "Backend", "sample back-end {} listens on {}", backend.name, backend.address);
            backends.push(backend);
        }
    }
    let server = Server::start(Options {
        deployment: args.deployment,
        settings,
        management_port: args.management_port,
        internal_port: args.internal_port,
        ..Options::default()
    })
    .await?;
    let counts = server.status.borrow().report.counts;
    tracing::info!(
        target: "Server",
        "ready in {} ms: {counts}", started.elapsed().as_millis()
    );
    stop::signal().await;
    let (_, requests, flows) = server.load();
    tracing::info!(
        target: "Server",
        "stopping; waiting for {} running exchanges", requests + flows
    );
    let cut = server.stop().await;
    for backend in backends {
        backend.stop().await;
    }
    if cut > 0 {
        tracing::warn!(target: "Server", "stopped; {cut} connections were cut at the deadline");
    } else {
        tracing::info!(target: "Server", "stopped; nothing was cut");
    }
    Ok(())
}
