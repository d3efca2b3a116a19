//! The OpenAPI document, and what follows from it.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, get};
use utoipa::OpenApi;

use super::ApiError;
use super::query::Parameters;

#[derive(OpenApi)]
#[openapi(
    info(title = "flowhook", description = "What happens on your wires."),
    paths(
        super::alerts::history,
        super::alerts::engaged,
        super::alerts::acknowledge,
        super::alerts::unacknowledge,
        super::alerts::acknowledge_all,
        super::alerts::label,
        super::alerts::delete_one,
        super::alerts::delete_all,
        super::events::types,
        super::events::schema,
        super::events::recorded,
        super::hooks::list,
        super::hooks::create,
        super::hooks::one,
        super::hooks::update,
        super::hooks::remove,
        super::hooks::rename,
        super::executions::do_again,
        super::executions::replay,
        super::executions::test,
        super::executions::retry_dead,
        super::executions::discard_dead,
        super::executions::one_execution,
        super::hooks::switch,
        super::executions::log,
        super::pubsub::publish,
        super::pubsub::create,
        super::pubsub::list,
        super::pubsub::remove,
        super::pubsub::sessions,
        super::pubsub::connect,
        super::pubsub::disconnect,
        super::flows::stored,
        super::flows::live,
        super::health::health,
        super::hosts::list,
        super::hosts::one,
        super::interfaces::list,
        super::interfaces::one,
        super::monitor::list,
        super::networks::list,
        super::nodes::list,
        super::recipients::list,
        super::recipients::test,
        super::recipients::explain,
        super::recipients::deliveries,
        super::recipients::dead,
        super::recipients::dead_letter,
        super::recipients::replay,
        super::recipients::discard,
        super::schemas::alert,
        super::schemas::endpoints,
        super::schemas::endpoint,
        super::scripts::list,
        super::scripts::one,
        super::run::run,
        super::series::of_element,
        super::series::top,
        super::settings::whole::export,
        super::settings::whole::import,
        super::settings::whole::reset,
        super::settings::list,
        super::settings::one,
        super::settings::set,
        super::settings::remove,
        super::settings::history,
        super::settings::rollback,
        super::metrics::metrics,
        document,
    ),
    components(schemas(super::error::ErrorBody))
)]
struct Contract;

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Contract::openapi()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = serde_json::Value)))]
#[get("/openapi.json")]
pub async fn document(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Parameters::none(&request)?;
    Ok(HttpResponse::Ok().json(openapi()))
}

/// Methods documented for each path, in capitals.
static METHODS: LazyLock<Vec<(String, Vec<String>)>> = LazyLock::new(|| {
    let contract = serde_json::to_value(openapi()).unwrap_or_default();
    let paths = contract["paths"].as_object().cloned().unwrap_or_default();
    let methods = |item: serde_json::Value| {
        item.as_object().map(|item| item.keys().map(|m| m.to_uppercase()).collect()).unwrap_or_default()
    };
    paths.into_iter().map(|(path, item)| (path, methods(item))).collect()
});

/// Methods that `path` takes; none when there is no such path.
pub fn methods_of(path: &str) -> Vec<&'static str> {
    let fits = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('/').collect();
        let given: Vec<&str> = path.split('/').collect();
        let same =
            |(part, given): (&&str, &&str)| part == given || (part.starts_with('{') && !given.is_empty());
        parts.len() == given.len() && parts.iter().zip(&given).all(same)
    };
    let found = METHODS.iter().filter(|(pattern, _)| fits(pattern));
    found.flat_map(|(_, methods)| methods.iter().map(String::as_str)).collect()
}
