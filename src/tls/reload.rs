//! Looking at the files again: what changed is used for connections from then on, and those that are open go on as they
//! began. Owns what was read last. What can't be used changes nothing, and is logged once.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::files::{Material, Texts, TlsError};
use super::metrics::Metrics;
use crate::settings::TlsOptions;

/// Looks at the files on and on.
pub(super) struct Reload {
    options: Arc<TlsOptions>,
    used: Texts,
    /// Why the files can't be used since the last time that they could.
    complaint: Option<String>,
    material: watch::Sender<Arc<Material>>,
    metrics: Metrics,
}

impl Reload {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// They can't be used.
    pub(super) fn begin(
        options: Arc<TlsOptions>,
        metrics: Metrics,
    ) -> Result<(Self, watch::Receiver<Arc<Material>>), TlsError> {
        let used = Texts::read(&options)?;
        let material = used.to_material(&options)?;
        metrics.uses(material.expires);
        let (material, receiver) = watch::channel(Arc::new(material));
        Ok((Self { options, used, complaint: None, material, metrics }, receiver))
    }

    /// Goes on until nobody accepts connections any more.
    pub(super) async fn run(mut self) {
        let mut hangup = signal(SignalKind::hangup()).inspect_err(|error| {
            tracing::warn!(%error, "SIGHUP can't be taken; the files of TLS are looked at by time alone");
        });
        while !self.material.is_closed() {
            tokio::select! {
                () = actix_rt::time::sleep(self.options.reload_interval) => {}
                () = hung_up(hangup.as_mut().ok()) => tracing::info!("SIGHUP: looking at the files of TLS"),
            }
            let options = Arc::clone(&self.options);
            match actix_rt::task::spawn_blocking(move || Texts::read(&options)).await {
                Ok(texts) => self.look(texts),
                Err(error) => tracing::error!(%error, "the files of TLS were not looked at"),
            }
        }
    }

    fn look(&mut self, read: Result<Texts, TlsError>) {
        match read {
            Ok(texts) if texts == self.used => self.complaint = None,
            Ok(texts) => match texts.to_material(&self.options) {
                Ok(material) => self.exchange(texts, material),
                Err(error) => self.complain(error),
            },
            Err(error) => self.complain(error),
        }
    }

    fn exchange(&mut self, texts: Texts, material: Material) {
        self.metrics.uses(material.expires);
        self.metrics.reloaded(true);
        self.material.send_replace(Arc::new(material));
        (self.used, self.complaint) = (texts, None);
        tracing::info!(path = %self.options.certificate.display(), "new connections get the new certificate");
    }

    fn complain(&mut self, error: TlsError) {
        let complaint = format!("{:#}", anyhow::Error::from(error));
        if self.complaint.as_ref() != Some(&complaint) {
            self.metrics.reloaded(false);
            tracing::error!(error = complaint, "the certificate in use stays in use: the files can't be used");
            self.complaint = Some(complaint);
        }
    }
}

async fn hung_up(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}
