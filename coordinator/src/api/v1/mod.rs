//! `/api/v1`: everything people do with the panel, for programs. docs/api.md is its page.
//!
//! Routes and the OpenAPI document come from one declaration each. Who may do what is decided by INDEX
//! (`index::authority`, `index::lists`); what is here turns requests into questions, and answers into names and types that do
//! not change when the tables do ([`views`]). Whoever may not know of a thing is told that it is not there.

#![allow(unused_qualifications, reason = "what the macros of the document write")]

mod caller;
mod devices;
mod events;
mod groups;
mod invites;
mod links;
pub(super) mod live;
mod me;
mod members;
mod metadata;
mod networks;
mod page;
pub(super) mod places;
mod problem;
mod repeat;
mod retry;
mod roles;
mod sent;
pub(super) mod snapshot;
#[cfg(test)]
mod tests;
mod users;
mod views;
mod webhooks;
mod words;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::Router;
use axum::http::{Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::csrf::{CsrfLayer, ProtectionError};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::Problem;
use super::Web;

/// Where all of it is.
const ROOT: &str = "/api/v1";

/// What the document begins with.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "lanyard",
        description = "Everything the panel of a lanyard server does. Instants are epoch milliseconds.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    components(schemas(Problem))
)]
struct Head;

/// The document, as it is served.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

/// Every route, with what the document says of it.
fn declared() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(Head::openapi())
        .routes(routes!(me::show))
        .routes(routes!(me::list_sessions))
        .routes(routes!(me::end_session))
        .routes(routes!(me::list_tokens, me::add_token))
        .routes(routes!(me::end_token))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::show, users::set))
        .routes(routes!(users::new_code))
        .routes(routes!(networks::list, networks::add))
        .routes(routes!(networks::show, networks::set, networks::remove))
        .routes(routes!(networks::links))
        .routes(routes!(members::list))
        .routes(routes!(members::show, members::set, members::remove))
        .routes(routes!(members::approve))
        .routes(routes!(members::deny))
        .routes(routes!(members::suspend))
        .routes(routes!(members::resume))
        .routes(routes!(metadata::of_user, metadata::about_user))
        .routes(routes!(metadata::of_network, metadata::about_network))
        .routes(routes!(metadata::of_device, metadata::about_device))
        .routes(routes!(metadata::of_member, metadata::about_member))
        .routes(routes!(groups::list))
        .routes(routes!(groups::set, groups::remove))
        .routes(routes!(invites::list, invites::add))
        .routes(routes!(invites::revoke))
        .routes(routes!(roles::list))
        .routes(routes!(roles::set, roles::remove))
        .routes(routes!(roles::pass_on))
        .routes(routes!(devices::list))
        .routes(routes!(devices::show, devices::set, devices::remove))
        .routes(routes!(devices::links))
        .routes(routes!(retry::try_again))
        .routes(routes!(webhooks::list, webhooks::add))
        .routes(routes!(webhooks::show, webhooks::set, webhooks::remove))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::retry))
        .routes(routes!(links::show))
        .routes(routes!(links::history))
        .routes(routes!(events::list))
        .routes(routes!(events::health))
        .routes(routes!(snapshot::show))
        .routes(routes!(live::follow))
}

/// The interface.
pub(super) fn router(web: &Web) -> Router<Web> {
    let (routes, _) = declared().split_for_parts();
    let routes = routes
        .route("/openapi.json", get(serve_document))
        .fallback(async || Problem::new("api.no_route", StatusCode::NOT_FOUND, "there is no such route"))
        .method_not_allowed_fallback(async |method: Method| {
            let detail = format!("this route knows no {method}");
            Problem::new("api.method", StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(from_fn_with_state(web.clone(), repeat::guard))
        .layer(CsrfLayer::new().with_rejection_response(foreign));
    Router::new().nest(ROOT, routes)
}

/// The document: what was declared, and what holds for every route.
fn document() -> utoipa::openapi::OpenApi {
    let mut document = utoipa::openapi::OpenApi::default().nest(ROOT, declared().into_openapi());
    document.info = Head::openapi().info;
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("lyt_...").build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let cookie = ApiKey::Cookie(ApiKeyValue::new("__Host-lanyard"));
    components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    let none: [&str; 0] = [];
    document.security =
        Some(vec![SecurityRequirement::new("token", none), SecurityRequirement::new("session", none)]);
    let mut sent = BTreeSet::new();
    for (path, item) in &mut document.paths.paths {
        for operation in [&item.post, &item.put, &item.patch].into_iter().flatten() {
            sent.extend(bodies(operation));
        }
        let others = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in others {
            if let Some(operation) = operation {
                complete(operation, method, path);
            }
        }
        if let Some(operation) = &mut item.post {
            complete(operation, "post", path);
            let detail = "A key of the client's choice: sent again with it within a day, the request is carried out once";
            let key = header_parameter("Idempotency-Key", detail);
            operation.parameters.get_or_insert_default().push(RefOr::T(key));
        }
    }
    // What is not said of something is null in an answer, never left out; who sends something may leave it out.
    for (name, schema) in &mut document.components.get_or_insert_default().schemas {
        if !sent.contains(name) {
            require_all(schema);
        }
    }
    document
}

/// Names of what is sent with an operation.
fn bodies(operation: &Operation) -> Vec<String> {
    let Some(RefOr::T(body)) = &operation.request_body else { return Vec::new() };
    let schemas = body.content.values().filter_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    let names = schemas.filter_map(|schema| match schema {
        RefOr::Ref(target) => target.ref_location.rsplit('/').next().map(str::to_owned),
        RefOr::T(_) => None,
    });
    names.collect()
}

fn require_all(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => object.required = object.properties.keys().cloned().collect(),
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(require_all),
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

/// A name of its own for an operation, and how it fails: any request may be refused, and each refusal looks the same.
fn complete(operation: &mut Operation, method: &str, path: &str) {
    let words = path.trim_start_matches(ROOT).replace(['{', '}'], "").replace('/', "_");
    operation.operation_id = Some(format!("{method}{words}"));
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("Refused, or failed; `code` says why")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), problem.into());
}

fn header_parameter(name: &str, detail: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(detail))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

async fn serve_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], DOCUMENT.as_str())
        .into_response()
}

/// The answer to a change that another site's page sent.
fn foreign(_: ProtectionError) -> Response {
    let detail = "it came from a page of another site";
    Problem::new("api.foreign", StatusCode::FORBIDDEN, detail).into_response()
}
