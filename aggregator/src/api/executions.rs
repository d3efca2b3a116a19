//! Executions of hooks: what was run, and running something again.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::Stopwatch;
use shared::store::hooks::{RunOutcome, RunRecord, RunState};

use super::access::may_run;
use super::hooks::ask;
use super::page::Listing;
use super::query::{Parameters, time};
use super::{ApiDeps, ApiError};

/// Which execution is done again, and how.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Its number.
    execution: u64,
    /// Make the arguments anew by the present definition.
    #[serde(default)]
    render: bool,
}

/// Does an execution again, with the arguments on record or with new ones.
#[utoipa::path(post, path = "/api/v1/hooks/{name}/retry", request_body = Retry,
    params(("name" = String, Path), ("by" = Option<String>, Query, description = "Who asks, where no token tells")),
    responses((status = 200, body = Value), (status = 403, body = super::error::ErrorBody),
              (status = 404, body = super::error::ErrorBody)))]
#[post("/hooks/{name}/retry")]
pub async fn do_again(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    body: web::Json<Retry>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(&request, &["by"])?;
    let by = may_run(&deps, &request, &name, &asked).await?;
    let Retry { execution, render } = body.into_inner();
    let question = json!({ "hook": *name, "execution": execution, "render": render, "by": by });
    Ok(HttpResponse::Ok().json(ask(&deps, "hook_retry", question).await?))
}

/// How long one replay goes on before it is answered with where it stands.
const REPLAY: Duration = Duration::from_secs(15);

/// Events of a replay that are named.
const NAMED: usize = 20;

/// Runs a hook for past events: `since` (needed) and `until` as times or as how long ago. With `dry_run`
/// nothing runs: the answer tells for how many events it would. Where `next` of the answer is not null,
/// it was cut: the same question with it as `after` goes on.
#[utoipa::path(post, path = "/api/v1/hooks/{name}/replay",
    params(("name" = String, Path), ("since" = String, Query), ("until" = Option<String>, Query),
           ("dry_run" = Option<bool>, Query),
           ("after" = Option<u64>, Query, description = "`next` of the answer before"), ("by" = Option<String>, Query, description = "Who asks, where no token tells")),
    responses((status = 200, body = Value), (status = 403, body = super::error::ErrorBody),
              (status = 404, body = super::error::ErrorBody)))]
#[post("/hooks/{name}/replay")]
pub async fn replay(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(&request, &["since", "until", "dry_run", "after", "by"])?;
    let since = time(&asked, "since", &deps)?;
    let by = may_run(&deps, &request, &name, &asked).await?;
    let mut question = json!({
        "hook": *name,
        "after": asked.parsed::<u64>("after")?.unwrap_or(0),
        "since": since.ok_or_else(|| ApiError::bad_field("since", "parameter 'since' is missing"))?,
        "until": time(&asked, "until", &deps)?.unwrap_or(deps.clock.now()),
        "dry_run": asked.parsed::<bool>("dry_run")?.unwrap_or(false),
        "by": by,
    });
    let (watch, mut events, mut executions, mut first) = (Stopwatch::start(), 0, 0, Vec::new());
    loop {
        let mut page = ask(&deps, "hook_replay", question.clone()).await?;
        events += page["events"].as_u64().unwrap_or(0);
        executions += page["executions"].as_u64().unwrap_or(0);
        first.extend(page["first"].as_array_mut().map(std::mem::take).unwrap_or_default());
        first.truncate(NAMED);
        if page["next"].is_null() || watch.elapsed() > REPLAY {
            (page["events"], page["executions"], page["first"]) =
                (json!(events), json!(executions), json!(first));
            return Ok(HttpResponse::Ok().json(page));
        }
        question["after"] = page["next"].take();
    }
}

/// Runs a hook once for the event in the body, or for the last on record that it is for; it is not tried
/// again when it fails.
#[utoipa::path(post, path = "/api/v1/hooks/{name}/test", request_body = Option<Value>,
    params(("name" = String, Path), ("by" = Option<String>, Query, description = "Who asks, where no token tells")),
    responses((status = 200, body = Value), (status = 403, body = super::error::ErrorBody),
              (status = 404, body = super::error::ErrorBody)))]
#[post("/hooks/{name}/test")]
pub async fn test(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    body: web::Bytes,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(&request, &["by"])?;
    let by = may_run(&deps, &request, &name, &asked).await?;
    let event: Option<Value> = match body.is_empty() {
        true => None,
        false => serde_json::from_slice(&body).map_err(|e| ApiError::bad_field("body", e.to_string()))?,
    };
    let question = json!({ "hook": *name, "event": event, "by": by });
    Ok(HttpResponse::Ok().json(ask(&deps, "hook_test", question).await?))
}

/// Tries a hook's dead letters again, or that of one execution.
#[utoipa::path(post, path = "/api/v1/hooks/{name}/dead/retry",
    params(("name" = String, Path), ("execution" = Option<u64>, Query),
           ("by" = Option<String>, Query, description = "Who asks, where no token tells")),
    responses((status = 200, body = Value), (status = 403, body = super::error::ErrorBody)))]
#[post("/hooks/{name}/dead/retry")]
pub async fn retry_dead(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    dead(&deps, &name, &request, true).await
}

/// Forgets a hook's dead letters, or that of one execution.
#[utoipa::path(delete, path = "/api/v1/hooks/{name}/dead",
    params(("name" = String, Path), ("execution" = Option<u64>, Query),
           ("by" = Option<String>, Query, description = "Who asks, where no token tells")),
    responses((status = 200, body = Value), (status = 403, body = super::error::ErrorBody)))]
#[delete("/hooks/{name}/dead")]
pub async fn discard_dead(
    deps: web::Data<ApiDeps>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    dead(&deps, &name, &request, false).await
}

async fn dead(
    deps: &ApiDeps,
    name: &str,
    request: &HttpRequest,
    retry: bool,
) -> Result<HttpResponse, ApiError> {
    let asked = Parameters::read(request, &["execution", "by"])?;
    let execution = asked.parsed::<u64>("execution")?;
    let by = may_run(deps, request, name, &asked).await?;
    let question = json!({ "hook": name, "execution": execution, "retry": retry, "by": by });
    Ok(HttpResponse::Ok().json(ask(deps, "hook_dead", question).await?))
}

/// A hook and one of its executions.
#[derive(Debug, Deserialize)]
pub struct OneExecution {
    name: String,
    execution: u64,
}

/// One execution with its whole output and what it was given.
#[utoipa::path(get, path = "/api/v1/hooks/{name}/executions/{execution}",
    params(("name" = String, Path), ("execution" = u64, Path)),
    responses((status = 200, body = RunRecord), (status = 404, body = super::error::ErrorBody)))]
#[get("/hooks/{name}/executions/{execution}")]
pub async fn one_execution(
    deps: web::Data<ApiDeps>,
    path: web::Path<OneExecution>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    let question = json!({ "hook": path.name, "execution": path.execution });
    Ok(HttpResponse::Ok().json(ask(&deps, "hook_run", question).await?))
}

/// Executions of hooks, newest first; outputs are shortened.
#[utoipa::path(get, path = "/api/v1/executions",
    params(("hook" = Option<String>, Query), ("event" = Option<String>, Query),
           ("outcome" = Option<String>, Query, description = "success, failure, timeout, killed or skipped"),
           ("failed" = Option<bool>, Query, description = "Only where something went wrong, or only where not"),
           ("dead" = Option<bool>, Query, description = "Only those given up, or only others"),
           ("state" = Option<String>, Query, description = "queued, running or done"),
           ("since" = Option<String>, Query), ("until" = Option<String>, Query),
           ("before" = Option<u64>, Query, description = "Numbers below this"),
           ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Listing<RunRecord>)))]
#[get("/executions")]
pub async fn log(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let known = ["hook", "event", "outcome", "failed", "dead", "state", "since", "until", "before", "limit"];
    let asked = Parameters::read(&request, &known)?;
    let question = json!({
        "hook": asked.text("hook"),
        "event": asked.text("event"),
        "outcome": asked.named("outcome", RunOutcome::parse)?,
        "good": asked.parsed::<bool>("failed")?.map(|failed| !failed),
        "dead": asked.parsed::<bool>("dead")?,
        "state": asked.named("state", RunState::parse)?,
        "since": time(&asked, "since", &deps)?,
        "until": time(&asked, "until", &deps)?,
        "before": asked.parsed::<u64>("before")?,
        "limit": asked.limit()?,
    });
    let mut answer = ask(&deps, "hook_runs", question).await?;
    let items: Vec<Value> = serde_json::from_value(answer["items"].take()).unwrap_or_default();
    // What goes into `before` for the next page.
    let last = items.last().filter(|_| answer["more"] == true).map(|record| record["execution"].to_string());
    Ok(HttpResponse::Ok().json(Listing { items, next: last, missing: Vec::new() }))
}
