//! What an endpoint is to be, as the command line wishes it.

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use store::endpoints::{Filter, Options, Order};
use webhook::{Authorization, ClientCertificate, Credentials, CustomHeaders};

use super::source;
use crate::cli::{Wishes, WrittenOrder};
use crate::deliver;
use crate::settings::{DIGEST_ACTIONS, Webhooks, digest, parse_rate};

pub struct Draft {
    pub url: String,
    pub filter: Filter,
    pub options: Options,
    pub credentials: Credentials,
}

impl Draft {
    /// Takes over what is wished for; the rest stays.
    pub fn wish(mut self, wishes: &Wishes) -> anyhow::Result<Self> {
        let lists = [
            (&wishes.types, &mut self.filter.types),
            (&wishes.projects, &mut self.filter.projects),
            (&wishes.environments, &mut self.filter.environments),
            (&wishes.statuses, &mut self.filter.statuses),
        ];
        for (wished, list) in lists {
            if let Some(wished) = wished {
                *list = wished
                    .iter()
                    .filter(|value| !value.is_empty())
                    .cloned()
                    .collect();
            }
        }
        wish_options(&mut self.options, wishes)?;
        self.credentials = wish_credentials(self.credentials, wishes)?;
        Ok(self)
    }

    pub fn check(&self, webhooks: &Webhooks) -> anyhow::Result<()> {
        deliver::check(&self.url, &self.filter, &self.options, webhooks)
    }
}

fn wish_options(options: &mut Options, wishes: &Wishes) -> anyhow::Result<()> {
    if let Some(format) = &wishes.format {
        if format != "template" {
            options.template = None;
        }
        options.format = Some(format.clone()).filter(|format| format != "full");
    }
    if let Some(path) = &wishes.template_file {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("--template-file names {}", path.display()))?;
        options.template = Some(text);
    }
    if let Some(template) = &wishes.template {
        options.template = Some(template.clone());
    }
    if let Some(order) = wishes.order {
        options.order = match order {
            WrittenOrder::Parallel => Order::Parallel,
            WrittenOrder::Project => Order::Project,
            WrittenOrder::Endpoint => Order::Endpoint,
        };
    }
    if let Some(in_flight) = wishes.in_flight {
        options.in_flight = Some(in_flight).filter(|in_flight| *in_flight > 0);
    }
    if let Some(rate) = &wishes.rate {
        options.rate = match rate.as_str() {
            "none" => None,
            rate => Some(
                parse_rate(rate)
                    .map_err(anyhow::Error::msg)
                    .context("--rate")?,
            ),
        };
    }
    if let Some(within) = &wishes.digest {
        let actions = wishes.digest_actions.unwrap_or(DIGEST_ACTIONS);
        options.digest = match within.as_str() {
            "none" => None,
            within => Some(
                digest(within, actions)
                    .map_err(anyhow::Error::msg)
                    .context("--digest")?,
            ),
        };
    }
    Ok(())
}

fn wish_credentials(credentials: Credentials, wishes: &Wishes) -> anyhow::Result<Credentials> {
    let mut credentials = credentials;
    if let Some(headers) = headers(wishes)? {
        credentials = credentials.with_headers(headers)?;
    }
    if let Some(authorization) = authorization(wishes)? {
        credentials = credentials.with_authorization(Some(authorization))?;
    }
    if let Some(path) = &wishes.client_certificate {
        let mut pem = source::file("--client-certificate", path)?;
        if let Some(key) = &wishes.client_key {
            let key = source::file("--client-key", key)?;
            pem = format!("{}\n{}", pem.expose_secret(), key.expose_secret()).into();
        }
        let certificate = ClientCertificate::from_pem(pem).context("--client-certificate")?;
        credentials = credentials.with_client_certificate(Some(certificate));
    }
    Ok(credentials)
}

fn headers(wishes: &Wishes) -> anyhow::Result<Option<CustomHeaders>> {
    let lines: Vec<SecretString> = match &wishes.headers_file {
        Some(path) => {
            let text = source::file("--headers-file", path)?;
            let lines = text.expose_secret().lines();
            lines
                .filter(|line| !line.trim().is_empty())
                .map(SecretString::from)
                .collect()
        }
        None => wishes
            .header
            .iter()
            .cloned()
            .map(SecretString::from)
            .collect(),
    };
    if lines.is_empty() {
        return Ok(None);
    }
    let header = |line: &SecretString| match line.expose_secret().split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), SecretString::from(value.trim()))),
        None => bail!("a header reads 'name: value'"),
    };
    let headers: Vec<(String, SecretString)> =
        lines.iter().map(header).collect::<Result<_, _>>()?;
    Ok(Some(CustomHeaders::new(headers)?))
}

fn authorization(wishes: &Wishes) -> anyhow::Result<Option<Authorization>> {
    let either = |kind, path: &Option<std::path::PathBuf>, name: &Option<String>| {
        let (by_file, by_env) = (format!("--{kind}-file"), format!("--{kind}-env"));
        match (path, name) {
            (Some(path), _) => source::file(&by_file, path).map(Some),
            (None, Some(name)) => source::variable(&by_env, name).map(Some),
            (None, None) => Ok(None),
        }
    };
    if let Some(user) = &wishes.basic {
        let password = either("password", &wishes.password_file, &wishes.password_env)?;
        let password = password.context(
            "--basic needs its password: --password-file FILE (- is standard input) or --password-env NAME",
        )?;
        return Ok(Some(Authorization::basic(user.clone(), password)?));
    }
    let token = either("bearer", &wishes.bearer_file, &wishes.bearer_env)?;
    Ok(token.map(Authorization::bearer).transpose()?)
}
