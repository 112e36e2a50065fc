//! What every operation of every service has in common, put into its OpenAPI document.

use super::problem::Problem;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

/// The name of the security scheme.
const BEARER: &str = "bearer";

/// Adds the problems that every operation may answer with, and that it needs a token unless it says otherwise (`security(())`).
pub(crate) fn complete(mut document: OpenApi, service: &str) -> OpenApi {
    document.info.title = format!("Ringway's shop: {service}");
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_with(Components::new);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation);
        }
    }
    document
}

fn complete_operation(operation: &mut Operation) {
    let schema = Ref::from_schema_name(Problem::name());
    let problem = ResponseBuilder::new()
        .description("What was wrong")
        .content("application/problem+json", Content::new(Some(schema)));
    operation
        .responses
        .responses
        .insert("default".to_owned(), problem.build().into());
    operation.security.get_or_insert_with(|| {
        let scopes: [&str; 0] = [];
        vec![SecurityRequirement::new(BEARER, scopes)]
    });
}
