//! Flows: ended ones from the store, live ones from the collectors.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde_json::Value;
use shared::model::query::{FlowQuery, Page};

use super::page::Listing;
use super::query::Parameters;
use super::{ApiDeps, ApiError};
use crate::live::{InterfaceRow, cursor, parse_cursor};

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const PARAMETERS: &[&str] = &["from", "to", "ifid", "host", "port", "l7", "limit", "cursor"];

fn read(parameters: &Parameters) -> Result<FlowQuery, ApiError> {
    Ok(FlowQuery {
        from: parameters.parsed("from")?,
        to: parameters.parsed("to")?,
        ifid: parameters.parsed("ifid")?,
        host: parameters.parsed("host")?,
        port: parameters.parsed("port")?,
        l7: parameters.text("l7"),
        after: None,
        limit: parameters.limit()?,
    })
}

/// Ended flows, newest first.
#[utoipa::path(get, path = "/api/v1/flows", params(
    ("from" = Option<String>, Query, description = "Last seen not before: RFC 3339 or epoch seconds"),
    ("to" = Option<String>, Query, description = "Last seen before"),
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("host" = Option<String>, Query, description = "Client or server has this address"),
    ("port" = Option<u16>, Query, description = "Client or server has this port"),
    ("l7" = Option<String>, Query, description = "Layer-7 protocol"),
    ("limit" = Option<usize>, Query, description = "Rows of a page"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Page<Value>), (status = 400, body = super::error::ErrorBody)))]
#[get("/flows")]
pub async fn stored(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, PARAMETERS)?;
    let query = FlowQuery { after: parameters.parsed("cursor")?, ..read(&parameters)? };
    Ok(HttpResponse::Ok().json(deps.flows.flows(query).await?))
}

/// Live flows, by interface and age. A collector that does not answer is listed in `missing`.
#[utoipa::path(get, path = "/api/v1/flows/live", params(
    ("from" = Option<String>, Query, description = "Last seen not before: RFC 3339 or epoch seconds"),
    ("to" = Option<String>, Query, description = "Last seen before"),
    ("ifid" = Option<u32>, Query, description = "On this interface"),
    ("host" = Option<String>, Query, description = "Client or server has this address"),
    ("port" = Option<u16>, Query, description = "Client or server has this port"),
    ("l7" = Option<String>, Query, description = "Layer-7 protocol"),
    ("limit" = Option<usize>, Query, description = "Rows of a page"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Listing<Value>), (status = 400, body = super::error::ErrorBody)))]
#[get("/flows/live")]
pub async fn live(deps: web::Data<ApiDeps>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::read(&request, PARAMETERS)?;
    let query = read(&parameters)?;
    let after = parameters.named("cursor", parse_cursor::<i64>)?;
    let answers = deps.live.interfaces().await;
    let mut missing = answers.missing;
    let mut silent = BTreeSet::new();
    let mut items: Vec<Value> = Vec::new();
    let mut next = None;
    for interface in answers.rows {
        let InterfaceRow { ifid, site, node, .. } = &interface;
        let place = (ifid, site);
        let passed = after.as_ref().is_some_and(|(ifid, site, _)| place < (ifid, site));
        if passed || query.ifid.is_some_and(|wanted| wanted != *ifid) {
            continue;
        }
        let room = query.limit - items.len();
        if room == 0 {
            next = Some(cursor(*ifid, site, 0));
            break;
        }
        let begin = after.as_ref().filter(|(ifid, site, _)| place == (ifid, site)).map(|(.., id)| *id);
        let part = FlowQuery { ifid: Some(*ifid), after: begin, limit: room, ..query.clone() };
        // Who has not answered once is not waited for again.
        let answer = if silent.contains(node) { None } else { ask(&deps, node, &part).await };
        match answer {
            Some(page) => {
                items.extend(page.items);
                if let Some(id) = page.next {
                    next = Some(cursor(*ifid, site, id));
                    break;
                }
            }
            None => {
                missing.push(format!("{} on {node}", interface.name));
                silent.insert(node.clone());
            }
        }
    }
    Ok(HttpResponse::Ok().json(Listing { items, next, missing }))
}

/// A collector's page; `None` when it does not answer, or not with one.
async fn ask(deps: &ApiDeps, node: &str, query: &FlowQuery) -> Option<Page<Value>> {
    let subject = deps.subjects.request(node, "flows");
    let question = serde_json::to_vec(query).ok()?;
    let answer = deps.bus.request(&subject, question.into(), PATIENCE).await.ok()?;
    serde_json::from_slice(&answer).ok()
}
