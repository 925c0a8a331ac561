//! Templates: texts that campaigns are begun from, the same text in several languages being one group.
//!
//! Must not check or compile a text: an unfinished one is as welcome here as in a draft.

use postrider_domain::campaign::Draft;
use postrider_domain::id::{TemplateId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::campaign::check_rev;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{check_name, conflict, json as read_json, not_found, refused};
use crate::saved_view::take_turns;
use crate::sql::{Row, args, sql};
use crate::variant::draft_json;

/// Most templates of a workspace.
const TEMPLATES_MAX: i64 = 2_000;

/// A template without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRow {
    /// Its id.
    pub id: TemplateId,
    /// The first template of its group, which may be itself or gone.
    pub group: TemplateId,
    /// The language of the text (BCP 47); empty when nobody said.
    pub language: String,
    /// Its name.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// How its body is written.
    pub format: Option<String>,
    /// Grows by one with each change.
    pub rev: i64,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was changed last, i64 milliseconds UTC.
    pub updated_at: i64,
}

/// A template with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Everything but the text.
    pub row: TemplateRow,
    /// The text.
    pub draft: Draft,
}

/// A template to be made.
#[derive(Debug, Clone, Default)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// The language of the text (BCP 47); empty when nobody says.
    pub language: String,
    /// The group that it joins: any template of it; `None`: a group of its own.
    pub group: Option<TemplateId>,
    /// The text.
    pub draft: Draft,
}

/// What changes in a template; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct TemplateChange {
    /// Another name.
    pub name: Option<String>,
    /// Another language.
    pub language: Option<String>,
    /// Another text.
    pub draft: Option<Draft>,
}

impl TemplateRow {
    fn read(row: &Row) -> Result<TemplateRow> {
        Ok(TemplateRow {
            id: TemplateId(row.int("id")?),
            group: TemplateId(row.int("group_id")?),
            language: row.text("language")?,
            name: row.text("name")?,
            subject: row.text("subject")?,
            format: row.text_opt("format")?,
            rev: row.int("rev")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

fn check_language(language: &str) -> Result<()> {
    let plain = language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if language.len() > 35 || !plain {
        return Err(refused("save the template: the language should be a tag such as it or pt-BR"));
    }
    Ok(())
}

impl Store {
    /// The templates of a workspace, newest first; of one group if named.
    ///
    /// # Errors
    /// The cursor is foreign, or the workspace has no such template.
    pub async fn templates(
        &self,
        workspace: WorkspaceId,
        of_group: Option<TemplateId>,
        page: &PageRequest,
    ) -> Result<Page<TemplateRow>> {
        let before: i64 = page.position("template")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let group = match of_group {
            None => None,
            Some(id) => Some(self.template(workspace, id).await?.row.group),
        };
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, group_id, language, name, coalesce(draft ->> 'subject', '') AS subject, \
                     draft ->> 'format' AS format, rev, created_at, updated_at FROM template \
                     WHERE workspace_id = $1 AND id < $2 AND (CAST($3 AS BIGINT) IS NULL OR group_id = $3) \
                     ORDER BY id DESC LIMIT $4"
                ),
                args![workspace, before, group, limit + 1],
            )
            .await?;
        let templates = rows.iter().map(TemplateRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(templates, limit, "template", |template| template.id.get()))
    }

    /// A template by id.
    ///
    /// # Errors
    /// The workspace has no such template.
    pub async fn template(&self, workspace: WorkspaceId, id: TemplateId) -> Result<Template> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, group_id, language, name, coalesce(draft ->> 'subject', '') AS subject, \
                     draft ->> 'format' AS format, rev, created_at, updated_at, {json draft} AS draft FROM template \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?
            .ok_or_else(|| not_found("template"))?;
        Ok(Template { row: TemplateRow::read(&row)?, draft: read_json(&row, "draft")? })
    }

    /// Makes a template.
    ///
    /// # Errors
    /// The group does not exist or has the language already, a field is refused, or there are 2,000 templates.
    pub async fn create_template(&self, workspace: WorkspaceId, by: &Actor, new: NewTemplate) -> Result<Template> {
        check_name("template name", &new.name, 200)?;
        check_language(&new.language)?;
        let text = draft_json(&new.draft)?;
        let id = TemplateId(self.next_id());
        let group = match new.group {
            None => id,
            Some(other) => self.template(workspace, other).await?.row.group,
        };
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx, workspace).await?;
        check_free(&mut tx, workspace, group, &new.language, id).await?;
        let many = tx
            .one(sql!("SELECT count(*) AS n FROM template WHERE workspace_id = $1"), args![workspace])
            .await?
            .int("n")?;
        if many >= TEMPLATES_MAX {
            return Err(refused("save the template: there are 2,000 already; delete one first"));
        }
        tx.execute(
            sql!(
                "INSERT INTO template (id, workspace_id, group_id, language, name, draft, rev, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, {jsonb $6}, 1, $7, $7)"
            ),
            args![id, workspace, group, new.language, new.name, text, self.now()],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "template.create", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.template(workspace, id).await
    }

    /// Changes name, language or text of a template.
    ///
    /// # Errors
    /// The workspace has no such template, `rev` is not the present revision, the group has the language already, or a
    /// field is refused.
    pub async fn change_template(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: TemplateId,
        rev: i64,
        change: TemplateChange,
    ) -> Result<Template> {
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx, workspace).await?;
        let row = tx
            .opt(
                sql!(
                    "SELECT rev, group_id, name, language, {json draft} AS draft FROM template \
                     WHERE workspace_id = $1 AND id = $2 {for_update}"
                ),
                args![workspace, id],
            )
            .await?
            .ok_or_else(|| not_found("template"))?;
        check_rev(row.int("rev")?, rev)?;
        let name = change.name.map_or_else(|| row.text("name"), Ok)?;
        let language = change.language.map_or_else(|| row.text("language"), Ok)?;
        check_name("template name", &name, 200)?;
        check_language(&language)?;
        check_free(&mut tx, workspace, TemplateId(row.int("group_id")?), &language, id).await?;
        let text = match &change.draft {
            Some(draft) => draft_json(draft)?,
            None => row.text("draft")?,
        };
        tx.execute(
            sql!(
                "UPDATE template SET name = $3, language = $4, draft = {jsonb $5}, rev = rev + 1, updated_at = $6 \
                 WHERE workspace_id = $1 AND id = $2"
            ),
            args![workspace, id, name, language, text, self.now()],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "template.change", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.template(workspace, id).await
    }

    /// Deletes a template; campaigns begun from it stay as they are.
    ///
    /// # Errors
    /// The workspace has no such template.
    pub async fn delete_template(&self, workspace: WorkspaceId, by: &Actor, id: TemplateId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let gone =
            tx.execute(sql!("DELETE FROM template WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
        if gone == 0 {
            return Err(not_found("template"));
        }
        self.note(&mut tx, Some(workspace), by, "template.delete", &id.to_string(), json!({})).await?;
        tx.commit().await
    }
}

async fn check_free(
    tx: &mut Tx,
    workspace: WorkspaceId,
    group: TemplateId,
    language: &str,
    mine: TemplateId,
) -> Result<()> {
    let taken = tx
        .opt(
            sql!("SELECT id FROM template WHERE workspace_id = $1 AND group_id = $2 AND language = $3 AND id <> $4"),
            args![workspace, group, language, mine],
        )
        .await?;
    match taken {
        None => Ok(()),
        Some(_) => Err(conflict("save the template: its group has this language already; change that one instead")),
    }
}
