//! A client of the REST API of a node that runs.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
pub use reqwest::Method;
use reqwest::header::IF_MATCH;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::run::runtime;
use crate::config::Config;
use crate::exit::{self, Failure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which node is asked.
#[derive(Debug, Args)]
pub struct Where {
    /// Node to ask, such as http://127.0.0.1:8080; the one that aggregator.api.listen names without it
    #[arg(long, global = true, env = "FLOWHOOK_API")]
    api: Option<String>,
    /// Token for what takes a role
    #[arg(long, global = true, env = "FLOWHOOK_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Asks one node.
pub struct Client {
    base: Url,
    http: reqwest::Client,
    token: Option<String>,
    /// What its calls are known by, where they are to be.
    call_id: Option<String>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client of the node that is meant.
    pub fn new(at: &Where, config: &Config) -> Result<Self, Failure> {
        // A process has one TLS provider; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = match &at.api {
            Some(url) => url.clone(),
            None => format!("http://{}", config.aggregator.api.listen),
        };
        let base = Url::parse(&base)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .ok_or_else(|| Failure::config(format!("--api: '{base}' is no http:// or https:// address")))?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build().map_err(anyhow::Error::from)?;
        Ok(Self { base, http, token: at.token.clone(), call_id: None, runtime: runtime()? })
    }

    /// The same, whose calls all have this id, and so their events.
    pub fn known_by(self, id: String) -> Self {
        Self { call_id: Some(id), ..self }
    }

    /// What a resource holds; nothing when there is no such resource.
    pub fn get(&self, path: &[&str]) -> Result<Option<Value>, Failure> {
        match self.ask(Method::GET, path, &[], None, None)? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            answer => wanted(answer).map(Some),
        }
    }

    /// Sends `body`; with a revision only when that is still the one in force.
    pub fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        revision: Option<u64>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        wanted(self.ask(method, path, query, revision, body)?)
    }

    fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        revision: Option<u64>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).header("x-flowhook-client", "command_line");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(id) = &self.call_id {
            request = request.header("x-request-id", id);
        }
        // A command that a hook runs says so: hooks do not run each other for ever.
        if let Ok(depth) = std::env::var("FLOWHOOK_HOOK_DEPTH") {
            request = request.header("x-flowhook-depth", depth);
        }
        if let Some(revision) = revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
        });
        let (status, text) = answer.map_err(|error| {
            let cause =
                if error.is_connect() { "nobody answers; is a node running there?" } else { "failed" };
            Failure::new(exit::FAILED, anyhow!("{}: {cause} ({error:#})", self.base))
        })?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, value))
    }
}

/// The answer, or what the node says is wrong.
fn wanted((status, value): (StatusCode, Value)) -> Result<Value, Failure> {
    if status.is_success() {
        return Ok(value);
    }
    let said = |key: &str| value["error"][key].as_str().map(str::to_owned);
    let cause = match (said("field"), said("message")) {
        (Some(field), Some(message)) => format!("{field}: {message}"),
        (None, Some(message)) => message,
        _ => value.to_string(),
    };
    let code = if status == StatusCode::BAD_REQUEST { exit::CONFIG } else { exit::FAILED };
    Err(Failure::new(code, anyhow!("{cause}")))
}
