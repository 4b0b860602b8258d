//! What is refused before anything looks at it: texts that are none, bodies without an end, and what another web site has a browser send.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderMap, HeaderName, ORIGIN, UPGRADE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};
use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// What a browser says about the page that a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request through, or answers why not.
pub async fn admit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    // Actix reads what follows as a stream that ends with the connection, whatever length was told.
    if request.headers().get_all(UPGRADE).any(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Err(ApiError::bad_request("there is no WebSocket here; send the request without `Upgrade`"));
    }
    // What is decoded later has replacement characters where bytes are no text: another id than the caller has.
    for (what, part) in [("path", request.uri().path()), ("query string", request.query_string())] {
        if percent_decode_str(part).decode_utf8().is_err() {
            let reason =
                format!("the {what} is no UTF-8 once it is decoded; encode the bytes of UTF-8, as `%C3%A9` for é");
            return Err(ApiError::bad_request(reason));
        }
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) && is_of_another_site(request.headers()) {
        let reason =
            "a page of another web site had a browser send this, and only programs and pages of this address may";
        return Err(ApiError::new(StatusCode::FORBIDDEN, reason));
    }
    Ok(())
}

/// A browser sends some requests of any page without asking first whether it may, and tells where the page is from. Programs tell nothing.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (header(SEC_FETCH_SITE), header(ORIGIN)) {
        (Some(site), _) => site == "cross-site",
        // Older browsers, and all of them where the address is neither this machine nor encrypted, tell the origin alone.
        (None, Some(origin)) => {
            let page = origin.split_once("://").map(|(_, authority)| host(authority));
            page.is_none() || page != header(HOST).map(host)
        }
        (None, None) => false,
    }
}

fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::super::testing::{Ground, Setup};
    use super::*;

    #[actix_rt::test]
    async fn what_is_no_text_is_refused_and_not_changed() {
        let ground = Ground::new(Setup::default()).await;
        for (method, uri, status) in [
            (Method::DELETE, "/v1/documents/%ff%fe", 400),
            (Method::GET, "/v1/documents/a%C3", 400),
            (Method::GET, "/v1/documents/a%C3/similar", 400),
            (Method::GET, "/v1/search?text=%ff", 400),
            (Method::GET, "/v1/search?text=caf%C3%A9+100%25%", 200),
            (Method::DELETE, "/v1/documents/caf%C3%A9%2F1", 202),
        ] {
            let answer = ground.request(method, uri).await;
            assert_eq!(answer.status.as_u16(), status, "{uri}");
            assert!(status != 400 || answer.error().contains("no UTF-8"), "{uri}: {}", answer.error());
        }
        assert_eq!(ground.journal().len(), 1);
    }

    #[actix_rt::test]
    async fn pages_of_other_sites_change_nothing() {
        let ground = Ground::new(Setup::default()).await;
        let (site, origin, here) = ("sec-fetch-site", "origin", ("host", "localhost:9090"));
        for (headers, admitted) in [
            (vec![here], true),
            (vec![here, (site, "same-origin"), (origin, "https://shop.example")], true),
            (vec![here, (site, "none")], true),
            (vec![here, (origin, "http://localhost:3000")], true),
            (vec![here, (site, "cross-site")], false),
            (vec![here, (origin, "https://elsewhere.example")], false),
            (vec![here, (origin, "null")], false),
        ] {
            let event =
                || headers.iter().fold(TestRequest::default(), |request, header| request.insert_header(*header));
            for (request, status) in [
                (event().method(Method::POST).uri("/v1/events").set_payload("{}"), 202),
                (event().method(Method::DELETE).uri("/v1/documents/a"), 202),
                (event().method(Method::POST).uri("/v1/search").set_payload("{\"text\":\"a\"}"), 200),
            ] {
                let answer = ground.send(request).await;
                assert_eq!(answer.status.as_u16(), if admitted { status } else { 403 }, "{headers:?}");
            }
            assert_eq!(ground.send(event().uri("/v1/search?text=a")).await.status, StatusCode::OK, "{headers:?}");
        }
        assert_eq!(ground.journal().len(), 2 * 4);
    }
}
