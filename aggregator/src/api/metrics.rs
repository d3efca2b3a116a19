//! Metrics in Prometheus text format.

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, get, web};

use super::ApiDeps;

/// All metrics of this process.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "text/plain", body = String)))]
#[get("/metrics")]
pub async fn metrics(deps: web::Data<ApiDeps>) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::plaintext()).body((deps.metrics_text)())
}
