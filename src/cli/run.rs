//! `myelin run`: deploys a directory and serves it.

use super::backend::{Backend, BackendOptions};
use super::{logging, stop};
use crate::server::{Options, Server};
use crate::settings::{self, Settings};
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
    /// Port of the management API (HTTPS, on loopback); 0 picks a free one [default: 9164]
    #[arg(long, value_name = "PORT")]
    management_port: Option<u16>,
    /// Port of health and endpoint states; 0 picks a free one [default: 9201]
    #[arg(long, value_name = "PORT")]
    internal_port: Option<u16>,
    /// Also start three sample back-ends on 9001, 9002 and 9003
    #[arg(long)]
    sample_backends: bool,
}

/// Runs until Ctrl-C or SIGTERM, then drains; a second signal ends it at once.
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
    ports(&args, &mut settings);
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
        deployment: args.deployment.clone(),
        management_port: settings.admin.secured_port,
        internal_port: settings.admin.port,
        settings,
        ..Options::default()
    })
    .await?;
    let counts = server.status.borrow().report.counts;
    tracing::info!(
        target: "Server",
        "ready in {} ms: {counts}", started.elapsed().as_millis()
    );
    if !args.deployment.is_dir() {
        tracing::warn!(
            target: "Server",
            "nothing is deployed: the directory {} does not exist (--deployment)",
            args.deployment.display()
        );
    }
    stop::signal().await;
    let (_, requests, flows) = server.load();
    tracing::info!(
        target: "Server",
        "stopping; waiting for {} running exchanges", requests + flows
    );
    let cut = tokio::select! {
        cut = server.stop() => cut,
        // Who asks twice does not want to wait for the deadline.
        () = stop::signal() => {
            tracing::warn!(target: "Server", "stopped at once, as a second signal asked for");
            return Ok(());
        }
    };
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

/// Ports of the command line win over those of the settings.
fn ports(args: &RunArgs, settings: &mut Settings) {
    for (port, field) in [
        (args.http_port, &mut settings.http.port),
        (args.https_port, &mut settings.http.secured_port),
        (args.internal_port, &mut settings.admin.port),
        (args.management_port, &mut settings.admin.secured_port),
    ] {
        if let Some(port) = port {
            *field = port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Environment;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn the_offset_moves_every_port_that_the_command_line_does_not_name() {
        let file = Path::new("deployment.toml");
        let text = "[server]\noffset = 30\n";
        let (settings, _) = settings::parse(file, text, &Environment::default()).unwrap();
        for (line, expected) in [
            (&["run"][..], [8310, 8273, 9221, 9184]),
            (
                &[
                    "run",
                    "--internal-port",
                    "1",
                    "--management-port",
                    "0",
                    "--http-port",
                    "2",
                ],
                [2, 8273, 1, 0],
            ),
        ] {
            let mut settings = settings.clone();
            ports(&Line::parse_from(line).args, &mut settings);
            let (http, admin) = (&settings.http, &settings.admin);
            let found = [http.port, http.secured_port, admin.port, admin.secured_port];
            assert_eq!(found, expected, "{line:?}");
        }
    }
}
