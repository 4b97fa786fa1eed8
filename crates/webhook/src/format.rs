//! The shapes in which an endpoint can want its notifications.
//!
//! A notification, or a digest of several, goes in; the bytes of a body come out, always the same
//! for the same input. What a vendor limits is cut to the limit, on a character, with an ellipsis.

mod card;
mod cloudevents;
mod context;
mod discord;
mod slack;
mod teams;
mod template;
pub(crate) mod text;
mod thin;

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::{Digest, Error, Notification};
use card::Card;
pub use context::FormatContext;
use template::Template;

const JSON: &str = "application/json";

/// How a notification is written for an endpoint.
#[derive(Clone, Debug, Default)]
pub enum Format {
    /// Type, timestamp, and every column of the action.
    #[default]
    Full,
    /// Ids and a link.
    Thin(FormatContext),
    /// [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md),
    /// structured, with the data of `full`.
    CloudEvents,
    /// [Block Kit](https://docs.slack.dev/reference/block-kit/blocks/) for an incoming webhook.
    Slack(FormatContext),
    /// An [embed](https://discord.com/developers/docs/resources/message#embed-object) that mentions
    /// nobody.
    Discord(FormatContext),
    /// An [Adaptive Card](https://adaptivecards.io/explorer/AdaptiveCard.html) for a Workflows
    /// webhook.
    Teams(FormatContext),
    /// A text of the operator's own.
    Template(Arc<Custom>),
}

/// A template, with what it may print beside the notification.
#[derive(Debug)]
pub struct Custom {
    template: Template,
    context: FormatContext,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub body: Bytes,
    pub content_type: &'static str,
}

impl Format {
    /// Every name that [`Format::new`] knows.
    pub const NAMES: [&'static str; 7] = [
        "full",
        "thin",
        "cloudevents",
        "slack",
        "discord",
        "teams",
        "template",
    ];

    /// The format of this name, without links; `template` belongs to the format `template` alone.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] says what is wrong with either.
    pub fn new(name: &str, template: Option<&str>) -> Result<Self, Error> {
        Self::in_context(name, template, &FormatContext::default())
    }

    /// The format of this name; `template` belongs to the format `template` alone.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] says what is wrong with either.
    pub fn in_context(
        name: &str,
        template: Option<&str>,
        context: &FormatContext,
    ) -> Result<Self, Error> {
        let context = context.clone();
        let format = match (name, template) {
            ("template", Some(text)) => {
                let template = Template::new(text, &context)?;
                return Ok(Self::Template(Arc::new(Custom { template, context })));
            }
            ("template", None) => return Err(invalid("template needs a template")),
            ("full", _) => Self::Full,
            ("thin", _) => Self::Thin(context),
            ("cloudevents", _) => Self::CloudEvents,
            ("slack", _) => Self::Slack(context),
            ("discord", _) => Self::Discord(context),
            ("teams", _) => Self::Teams(context),
            (name, _) => {
                let name: String = name.chars().take(40).collect();
                let known = Self::NAMES.join(", ");
                return Err(invalid(&format!("{name:?} is none: it is one of {known}")));
            }
        };
        match template {
            None => Ok(format),
            Some(_) => Err(invalid(&format!(
                "{name} takes no template: that is for the format template"
            ))),
        }
    }

    /// Writes one notification.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] where a template fails on this action; it names the template's line
    /// and no value.
    pub fn render(&self, notification: &Notification<'_>) -> Result<Payload, Error> {
        let card = |context| Card::of(notification, context);
        Ok(match self {
            Self::Full => json(&notification.full(), JSON),
            Self::Thin(context) => json(&thin::single(notification, context), JSON),
            Self::CloudEvents => json(
                &cloudevents::single(notification),
                cloudevents::CONTENT_TYPE,
            ),
            Self::Slack(context) => json(&slack::message(&card(context)), JSON),
            Self::Discord(context) => json(&discord::message(&card(context)), JSON),
            Self::Teams(context) => json(&teams::message(&card(context)), JSON),
            Self::Template(custom) => {
                let link = custom.context.link(notification);
                return custom.template.render(&notification.full(), link);
            }
        })
    }

    /// Writes several actions of one project as one notification of type `digest`.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] where a template fails on this digest, or it holds no action.
    pub fn render_digest(&self, digest: &Digest<'_>) -> Result<Payload, Error> {
        let told = digest.told()?;
        let card = |context| Card::of_digest(&told, context);
        Ok(match self {
            Self::Full => json(&told.full(), JSON),
            Self::Thin(context) => json(&thin::digest(&told, context), JSON),
            Self::CloudEvents => json(&cloudevents::digest(&told), cloudevents::CONTENT_TYPE),
            Self::Slack(context) => json(&slack::message(&card(context)), JSON),
            Self::Discord(context) => json(&discord::message(&card(context)), JSON),
            Self::Teams(context) => json(&teams::message(&card(context)), JSON),
            Self::Template(custom) => {
                let link = custom.context.link(&told.last);
                return custom.template.render(&told.full(), link);
            }
        })
    }
}

fn json(body: &impl Serialize, content_type: &'static str) -> Payload {
    let body = serde_json::to_vec(body).expect("text, numbers and JSON values always make JSON");
    Payload {
        body: body.into(),
        content_type,
    }
}

fn invalid(reason: &str) -> Error {
    Error::InvalidFormat(reason.to_owned())
}

#[cfg(test)]
mod tests;
