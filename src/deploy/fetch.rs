//! What artifacts take from `http:` and `https:` addresses, read once while they are deployed
//! (spec 04 §3.1).

use crate::artifact::{
    Artifact, ArtifactKind, Definition, Faulty, FileContent, LocalEntryDef, RemoteEntry,
    entry_value,
};
use crate::diag::{Diagnostic, codes};
use crate::settings::Settings;
use crate::transport::outside::{Options, Outside, fetch};
use crate::transport::tls::client_tls_of;
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::Arc;

/// Most addresses that are read at the same time.
const AT_ONCE: usize = 8;

/// Puts the values of remote local entries in place. An entry that cannot be read is faulty.
pub(super) fn complete(content: &mut FileContent, settings: &Settings) {
    let is_remote = |a: &Arc<Artifact>| remote(a).is_some();
    if !content.artifacts.iter().any(is_remote) {
        return;
    }
    let artifacts = std::mem::take(&mut content.artifacts);
    let wanted: Vec<RemoteEntry> = artifacts
        .iter()
        .filter_map(|a| remote(a).cloned())
        .collect();
    let mut found = read_all(&wanted, settings).into_iter();
    for artifact in artifacts {
        let Some(entry) = remote(&artifact) else {
            content.artifacts.push(artifact);
            continue;
        };
        match found
            .next()
            .unwrap_or_else(|| Err("it was not read".into()))
        {
            Ok(bytes) => content.artifacts.push(Arc::new(Artifact {
                kind: ArtifactKind::LocalEntry,
                name: artifact.name.clone(),
                definition: Definition::LocalEntry(LocalEntryDef {
                    value: entry_value(bytes),
                    endpoint: None,
                    remote: Some(entry.clone()),
                }),
                place: artifact.place.clone(),
            })),
            Err(problem) => {
                content.diagnostics.push(Diagnostic::error(
                    codes::UNREADABLE,
                    entry.place.clone(),
                    format!("cannot read {}: {problem}", shown(&entry.url)),
                ));
                content.faulty.push(Faulty {
                    file: artifact.place.source.path().to_owned(),
                    kind: Some(ArtifactKind::LocalEntry),
                    name: Some(artifact.name.clone()),
                });
            }
        }
    }
}

fn remote(artifact: &Artifact) -> Option<&RemoteEntry> {
    match &artifact.definition {
        Definition::LocalEntry(entry) => entry.remote.as_ref(),
        _ => None,
    }
}

/// An address without its user and password.
fn shown(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut url) => {
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.to_string()
        }
        Err(_) => "the address".to_owned(),
    }
}

/// Reads all addresses at the same time, on a thread of its own: who deploys may be on a runtime.
fn read_all(wanted: &[RemoteEntry], settings: &Settings) -> Vec<Result<Bytes, String>> {
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("fetch".into())
            .spawn_scoped(scope, || on_a_runtime(wanted, settings));
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("reading has failed".to_owned()),
            Err(e) => Err(e.to_string()),
        }
    });
    match outcome {
        Ok(list) => list,
        Err(problem) => wanted.iter().map(|_| Err(problem.clone())).collect(),
    }
}

fn on_a_runtime(
    wanted: &[RemoteEntry],
    settings: &Settings,
) -> Result<Vec<Result<Bytes, String>>, String> {
    let tls = client_tls_of(&settings.tls).map_err(|e| e.to_string())?;
    let outside = Outside::new(tls, settings.http.connection_timeout);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let client = outside.client(&Options::default()).map_err(|e| e.0)?;
    let within = settings.deploy.fetch_timeout;
    let limit = usize::try_from(settings.deploy.max_artifact_bytes).unwrap_or(usize::MAX);
    let requests = wanted.iter().map(|entry| {
        let request = client.get(&entry.url);
        async {
            let answer = fetch(&client, request, within, limit)
                .await
                .map_err(|e| e.0)?;
            match answer.status {
                200 => Ok(Bytes::from(answer.body)),
                _ => Err(format!("the answer was {}", answer.status_line)),
            }
        }
    });
    let requests = futures_util::stream::iter(requests).buffered(AT_ONCE);
    Ok(runtime.block_on(requests.collect()))
}
