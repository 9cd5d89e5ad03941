//! The one table of routes: each with its door, its limits and its description.
//!
//! The router, the OpenAPI description (`security`, `x-role`, `x-scope`) and the test of every route with every role are
//! made from it.

use super::door::{Door, Keeper, Limits, enter};
use super::problem::Problem;
use super::state::Server;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContactBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, ResponseBuilder, Schema, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

/// The routes so far.
pub(crate) struct Routes {
    entries: Vec<Entry>,
}

struct Entry {
    door: Door,
    limits: Limits,
    schemas: Vec<(String, RefOr<Schema>)>,
    paths: Paths,
    router: MethodRouter<Server>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds routes behind a door, as `routes.at(Door::Key(Role::Viewer, Some(Scope::Trends)), routes!(trends))`.
    pub(crate) fn at(self, door: Door, routes: UtoipaMethodRouter<Server>) -> Self {
        self.limited(door, Limits::USUAL, routes)
    }

    /// Adds routes behind a door, with limits of their own.
    pub(crate) fn limited(mut self, door: Door, limits: Limits, routes: UtoipaMethodRouter<Server>) -> Self {
        let (schemas, paths, router) = routes;
        self.entries.push(Entry { door, limits, schemas, paths, router });
        self
    }

    /// The description of all.
    pub(crate) fn openapi(&self) -> OpenApi {
        let mut api = described();
        let mut components = api.components.take().unwrap_or_default();
        for entry in &self.entries {
            components.schemas.extend(entry.schemas.iter().cloned());
            for (path, item) in &entry.paths.paths {
                let mut item = item.clone();
                for operation in operations(&mut item) {
                    mark(operation, entry.door);
                }
                match api.paths.paths.get_mut(path) {
                    Some(known) => known.merge_operations(item),
                    None => {
                        api.paths.paths.insert(path.clone(), item);
                    }
                }
            }
        }
        api.components = Some(components);
        api
    }

    /// The router of all, each behind its door.
    pub(crate) fn router(self, server: &Server) -> Router<Server> {
        let mut router = Router::new();
        for Entry { door, limits, paths, router: methods, .. } in self.entries {
            let body_max = limits.body.unwrap_or(server.settings.body_kib_max << 10);
            let keeper = Keeper { server: server.clone(), door, limits };
            let methods =
                methods.layer(DefaultBodyLimit::max(body_max)).route_layer(from_fn_with_state(keeper, enter));
            for path in paths.paths.keys() {
                router = router.route(path, methods.clone());
            }
        }
        router
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch, &mut item.head]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// What the door means, in the description.
fn mark(operation: &mut Operation, door: Door) {
    let (role, scope) = match door {
        Door::Open => {
            // No requirement at all, said aloud: the server's own holds otherwise.
            operation.security = Some(Vec::new());
            return;
        }
        Door::Key(role, scope) | Door::Page(role, scope) => (role, scope),
    };
    let mut schemes = vec!["bearer", "api_key"];
    if matches!(door, Door::Page(..)) {
        schemes.push("basic");
    }
    let none: [&str; 0] = [];
    operation.security = Some(schemes.into_iter().map(|s| SecurityRequirement::new(s, none)).collect());
    let extensions = operation.extensions.get_or_insert_default();
    let mut added = ExtensionsBuilder::new().add("x-role", json!(role.name()));
    if let Some(scope) = scope {
        added = added.add("x-scope", json!(scope.name()));
    }
    extensions.merge(added.build());
    operation.responses.responses.entry("default".to_owned()).or_insert_with(|| {
        ResponseBuilder::new()
            .description("What went wrong")
            .content(
                super::problem::MEDIA_TYPE,
                ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build(),
            )
            .build()
            .into()
    });
}

fn described() -> OpenApi {
    let mut components = Components::new();
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for (name, scheme) in [
        (
            "bearer",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .bearer_format("tw_<id>_<secret>")
                    .description(Some("A key of `tradewind keys create` or `POST /v1/keys`."))
                    .build(),
            ),
        ),
        (
            "api_key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-API-Key",
                "The same key.",
            ))),
        ),
        (
            "basic",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Basic)
                    .description(Some("For browsers: any name, the key as password."))
                    .build(),
            ),
        ),
    ] {
        components.security_schemes.insert(name.to_owned(), scheme.into());
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tradewind")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Trends, forecasts and recommendations of a shop.\n\n\
                     Every route but the probes needs a key; `x-role` is the least role, `x-scope` the scope that the key \
                     must have. Faults are problem details (RFC 9457); program against their `code`.",
                ))
                .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
                .contact(Some(ContactBuilder::new().name(Some("Tradewind")).build()))
                .build(),
        )
        .components(Some(components))
        .build()
}
