//! Which handler answers what.

use actix_web::error::{PathError, QueryPayloadError};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::web::{PathConfig, QueryConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError, Route, guard, web};

use super::error::ApiError;
use super::{admission, documents, events, fault, health, metrics, openapi, search, stats};

/// What is served: paths with their methods.
pub(super) fn resources() -> Vec<(&'static str, Vec<(Method, Route)>)> {
    use Method as M;
    vec![
        ("/v1/events", vec![(M::POST, web::to(events::post))]),
        ("/v1/documents/{id}", vec![(M::GET, web::to(documents::get)), (M::DELETE, web::to(documents::delete))]),
        ("/v1/documents/{id}/similar", vec![(M::GET, web::to(search::similar))]),
        ("/v1/search", vec![(M::GET, web::to(search::get)), (M::POST, web::to(search::post))]),
        ("/v1/stats", vec![(M::GET, web::to(stats::get))]),
        ("/health/live", vec![(M::GET, web::to(health::live))]),
        ("/health/ready", vec![(M::GET, web::to(health::ready))]),
        ("/metrics", vec![(M::GET, web::to(metrics::get))]),
        ("/openapi.json", vec![(M::GET, web::to(openapi::get))]),
    ]
}

/// Serves it, and answers in JSON also what no handler gets to see.
pub(super) fn configure(service: &mut ServiceConfig) {
    service
        .app_data(QueryConfig::default().error_handler(|error, _| wrong_query(&error).into()))
        .app_data(PathConfig::default().error_handler(|error, _| wrong_path(&error).into()));
    for (path, routes) in resources() {
        // Whoever may GET may ask for the head alone.
        let allowed: Vec<&str> = routes
            .iter()
            .map(|(method, _)| if method == Method::GET { "GET, HEAD" } else { method.as_str() })
            .collect();
        let allowed = allowed.join(", ");
        let mut resource = web::resource(path);
        for (method, route) in routes {
            resource = resource.route(match method {
                Method::GET => route.guard(guard::Any(guard::Get()).or(guard::Head())),
                method => route.guard(guard::Method(method)),
            });
        }
        let resource = resource.default_service(web::to(move |request| wrong_method(request, allowed.clone())));
        service.service(resource.wrap(from_fn(admission::admit)).wrap(from_fn(fault::tell)));
    }
    service.default_service(web::to(unknown_path));
}

async fn unknown_path(request: HttpRequest) -> HttpResponse {
    let reason = format!("there is nothing at `{}`; `/openapi.json` lists what there is", request.path());
    ApiError::not_found(reason).error_response()
}

async fn wrong_method(request: HttpRequest, allowed: String) -> HttpResponse {
    let reason = format!("`{}` is not possible here; possible: {allowed}", request.method());
    let mut response = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, reason).error_response();
    if let Ok(allowed) = header::HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

fn wrong_query(error: &QueryPayloadError) -> ApiError {
    let why = match error {
        // Without the name of the library.
        QueryPayloadError::Deserialize(error) => error.to_string(),
        error => error.to_string(),
    };
    ApiError::bad_request(format!("the query string is wrong: {why}"))
}

fn wrong_path(error: &PathError) -> ApiError {
    ApiError::bad_request(format!("the path is wrong: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Ground, Setup};
    use super::*;

    #[actix_rt::test]
    async fn unknown_paths_and_wrong_methods_are_json_too() {
        let ground = Ground::new(Setup::default()).await;
        let unknown = ground.get("/v1/nothing").await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        assert!(unknown.error().contains("`/v1/nothing`"), "{}", unknown.error());
        let wrong = ground.request(Method::PUT, "/v1/search").await;
        assert_eq!(
            (wrong.status, wrong.headers["allow"].as_str()),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, POST")
        );
        assert!(wrong.error().contains("`PUT`"), "{}", wrong.error());
        assert_eq!(ground.request(Method::HEAD, "/health/live").await.status, StatusCode::OK);
    }
}
