//! What a handler reads.

use super::extract::put_by_layer;
use super::problem::Problem;
use crate::context::Context;
use crate::database::Database;
use crate::error::Result;
use crate::level::Level;
use crate::link::Parameter;
use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio_postgres::Row;

/// The reads of a handler that only reads: each sees what its caller has written before ([`Level::Ryw`]). The routes' state says of which database.
#[derive(Clone, Debug)]
pub struct Reads {
    database: Database,
    context: Context,
}

impl<S: AsRef<Database> + Sync> FromRequestParts<S> for Reads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self {
            database: state.as_ref().clone(),
            context: put_by_layer(parts)?,
        })
    }
}

impl Reads {
    /// All rows of a statement.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.database
            .rows(&self.context, Level::Ryw, sql, parameters)
            .await
    }

    /// Its row, if there is one.
    ///
    /// # Errors
    /// As [`Database::row`].
    pub async fn row(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>> {
        self.database
            .row(&self.context, Level::Ryw, sql, parameters)
            .await
    }
}
