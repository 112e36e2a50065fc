//! OpenAPI documents: what every operation of every service has in common is put into its own, and those of several are put together.

use super::problem::Problem;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

/// The name of the security scheme.
const BEARER: &str = "bearer";

/// Where schemas stand in a document.
const SCHEMAS: &str = "#/components/schemas/";

/// What documents that are put together have of each, by key.
const PARTS: [&str; 3] = ["/paths", "/components/schemas", "/components/securitySchemes"];

/// OpenAPI documents of several services as one.
#[derive(Clone, Debug)]
pub struct Together(Value);

impl Together {
    /// Of no service yet.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self(json!({
            "openapi": "3.1.0",
            "info": {"title": title, "version": env!("CARGO_PKG_VERSION")},
            "paths": {},
            "components": {"schemas": {}, "securitySchemes": {}},
        }))
    }

    /// Adds a document, but of its paths only those that are `wanted`. Schemas must be named after their service, as a [`Server`](crate::service::Server) names
    /// them: one that is there already is replaced.
    pub fn add(&mut self, mut document: Value, wanted: impl Fn(&str) -> bool) {
        for part in PARTS {
            let (Some(Value::Object(into)), Some(Value::Object(from))) =
                (self.0.pointer_mut(part), document.pointer_mut(part))
            else {
                continue;
            };
            let added = std::mem::take(from).into_iter();
            into.extend(added.filter(|(name, _)| part != PARTS[0] || wanted(name)));
        }
    }

    /// The document.
    pub fn document(&self) -> &Value {
        &self.0
    }
}

/// A service's document with its schemas named after it (`order.Cart`): two services may each have a `Cart`.
pub(crate) fn named(document: &OpenApi, service: &str) -> Result<Value> {
    let malformed = |error| Error::caller("an OpenAPI document can't be written").with_source(error);
    let mut document = serde_json::to_value(document).map_err(malformed)?;
    if let Some(Value::Object(schemas)) = document.pointer_mut(PARTS[1]) {
        let all = std::mem::take(schemas).into_iter();
        *schemas = all
            .map(|(name, schema)| (name_after(service, &name), schema))
            .collect::<Map<_, _>>();
    }
    point_to_named(&mut document, service);
    Ok(document)
}

/// All services' problems are one schema.
fn name_after(service: &str, schema: &str) -> String {
    if schema == Problem::name() {
        schema.to_owned()
    } else {
        format!("{service}.{schema}")
    }
}

fn point_to_named(value: &mut Value, service: &str) {
    match value {
        Value::String(text) => {
            if let Some(schema) = text.strip_prefix(SCHEMAS) {
                *text = format!("{SCHEMAS}{}", name_after(service, schema));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| point_to_named(value, service)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| point_to_named(value, service)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

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

#[cfg(test)]
mod tests {
    use super::{Together, named};
    use serde_json::json;
    use utoipa::openapi::OpenApi;

    fn service(name: &str, type_of_cart: &str) -> serde_json::Value {
        let document = json!({
            "openapi": "3.1.0",
            "info": {"title": name, "version": "1"},
            "paths": {format!("/{name}"): {"get": {"responses": {"200": {"description": "", "content": {"application/json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Cart"}}
            }}}, "default": {"description": "", "content": {"application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
            }}}}}}},
            "components": {"schemas": {"Cart": {"type": type_of_cart}, "Problem": {"type": "object"}}},
        });
        let document: OpenApi = serde_json::from_value(document).unwrap();
        named(&document, name).unwrap()
    }

    #[test]
    fn schemas_of_one_name_stay_apart() {
        let mut together = Together::new("both");
        together.add(service("order", "object"), |_| true);
        together.add(service("boat", "string"), |_| true);
        together.add(service("secret", "string"), |path| path != "/secret");
        let document = together.document();
        assert_eq!(
            document.pointer("/components/schemas/order.Cart/type").unwrap(),
            "object"
        );
        assert_eq!(
            document.pointer("/components/schemas/boat.Cart/type").unwrap(),
            "string"
        );
        let answer = "/get/responses/200/content/application~1json/schema/items/$ref";
        let problem = "/get/responses/default/content/application~1problem+json/schema/$ref";
        for (path, cart) in [("/paths/~1order", "order"), ("/paths/~1boat", "boat")] {
            let named = format!("#/components/schemas/{cart}.Cart");
            assert_eq!(document.pointer(&format!("{path}{answer}")).unwrap(), &named);
            let shared = document.pointer(&format!("{path}{problem}")).unwrap();
            assert_eq!(shared, "#/components/schemas/Problem");
        }
        assert!(document.pointer("/components/schemas/Problem").is_some());
        assert_eq!(document.pointer("/paths/~1secret"), None);
    }
}
