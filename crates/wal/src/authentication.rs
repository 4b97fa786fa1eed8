//! Proves to the server who we are, and with SCRAM has the server prove itself.

use bytes::Bytes;
use connect::{Address, ChannelBinding, Target};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;

use crate::body::Body;
use crate::frame::Frame;
use crate::response::ServerError;
use crate::wire::Wire;
use crate::{Error, Malformed};

const DURING: &str = "during authentication";

/// What the server asks for ([authentication messages]).
///
/// [authentication messages]: https://www.postgresql.org/docs/current/protocol-message-formats.html
enum Request {
    Ok,
    Cleartext,
    Md5([u8; 4]),
    Sasl(Vec<String>),
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    Other(u32),
}

impl Request {
    fn decode(mut body: Body) -> Result<Self, Malformed> {
        let request = match body.u32()? {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => Self::Md5(body.u32()?.to_be_bytes()),
            10 => Self::Sasl(mechanisms(&mut body)?),
            11 => return Ok(Self::SaslContinue(body.rest())),
            12 => return Ok(Self::SaslFinal(body.rest())),
            other => return Ok(Self::Other(other)),
        };
        body.end()?;
        Ok(request)
    }
}

fn mechanisms(body: &mut Body) -> Result<Vec<String>, Malformed> {
    let mut mechanisms = Vec::new();
    loop {
        let name = body.terminated()?;
        if name.is_empty() {
            return Ok(mechanisms);
        }
        mechanisms.push(name.to_string());
    }
}

pub(crate) async fn authenticate(wire: &mut Wire, target: &Target) -> Result<(), Error> {
    let bound = target.channel_binding() == ChannelBinding::Require;
    match request(wire).await? {
        Request::Sasl(mechanisms) => scram(wire, target, &mechanisms).await?,
        _ if bound => return Err(unbound()),
        Request::Ok => return Ok(()),
        Request::Cleartext => {
            if !wire.stream().is_tls() && is_network(wire) {
                return Err(refused(
                    "the server wants the password in clear text over a connection without TLS; \
                     use TLS, or scram-sha-256 in pg_hba.conf",
                ));
            }
            send_password(wire, password(target)?)?;
        }
        Request::Md5(salt) => {
            let hash = md5_hash(target.user().as_bytes(), password(target)?, salt);
            send_password(wire, hash.as_bytes())?;
        }
        Request::SaslContinue(_) | Request::SaslFinal(_) => {
            return Err(refused("the server answers a question that was not asked"));
        }
        Request::Other(kind) => return Err(unsupported(kind)),
    }
    match request(wire).await? {
        Request::Ok => Ok(()),
        _ => Err(refused("the server asks twice")),
    }
}

async fn scram(wire: &mut Wire, target: &Target, offered: &[String]) -> Result<(), Error> {
    let password = password(target)?;
    let (mechanism, binding) = choose(wire.stream().end_point(), target, offered)?;
    let mut scram = ScramSha256::new(password, binding);
    frontend::sasl_initial_response(mechanism, scram.message(), wire.output())?;
    let Request::SaslContinue(challenge) = request(wire).await? else {
        return Err(refused("the server left the SCRAM exchange"));
    };
    scram
        .update(&challenge)
        .map_err(|e| refused(&e.to_string()))?;
    frontend::sasl_response(scram.message(), wire.output())?;
    // Until the server has proved that it knows the password too, its word counts for nothing.
    let Request::SaslFinal(proof) = request(wire).await? else {
        return Err(refused("the server left the SCRAM exchange"));
    };
    scram.finish(&proof).map_err(|e| refused(&e.to_string()))
}

fn choose(
    end_point: Option<&[u8]>,
    target: &Target,
    offered: &[String],
) -> Result<(&'static str, sasl::ChannelBinding), Error> {
    let offers = |name| offered.iter().any(|offered| offered == name);
    let setting = target.channel_binding();
    let end_point = end_point.filter(|_| setting != ChannelBinding::Disable);
    match end_point {
        Some(data) if offers(SCRAM_SHA_256_PLUS) => Ok((
            SCRAM_SHA_256_PLUS,
            sasl::ChannelBinding::tls_server_end_point(data.to_vec()),
        )),
        _ if setting == ChannelBinding::Require => Err(unbound()),
        _ if !offers(SCRAM_SHA_256) => Err(refused("the server offers no kind of SCRAM we know")),
        // This tells a server that did offer a binding that somebody between us took it away.
        Some(_) => Ok((SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
        None => Ok((SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
    }
}

async fn request(wire: &mut Wire) -> Result<Request, Error> {
    loop {
        let frame: Frame = wire.frame().await?;
        match frame.tag {
            b'R' => return Ok(Request::decode(frame.body("an authentication request"))?),
            b'E' => return Err(ServerError::decode(frame.body("an error"))?.into()),
            b'N' => {}
            _ => return Err(frame.unexpected(DURING).into()),
        }
    }
}

fn send_password(wire: &mut Wire, password: &[u8]) -> Result<(), Error> {
    frontend::password_message(password, wire.output())
        .map_err(|_| refused("the password holds a null byte"))
}

fn is_network(wire: &Wire) -> bool {
    !matches!(wire.stream().host().address, Address::Unix(_))
}

fn password(target: &Target) -> Result<&[u8], Error> {
    target
        .password()
        .ok_or_else(|| refused("the server wants a password and the URL has none"))
}

fn unbound() -> Error {
    refused("channel_binding=require, and the server does not bind the session to TLS")
}

fn unsupported(kind: u32) -> Error {
    let name = match kind {
        2 => "Kerberos",
        7 => "GSSAPI",
        9 => "SSPI",
        _ => "an unknown one",
    };
    refused(&format!(
        "the server wants a method that is not supported ({name}); allow scram-sha-256 in pg_hba.conf"
    ))
}

fn refused(why: &str) -> Error {
    Error::Authentication(why.to_owned())
}
