\set ON_ERROR_STOP on
GRANT USAGE ON SCHEMA public TO drift_viewer;
GRANT SELECT ON drift_measurements, drift_histograms, drift_episodes, drift_evaluations, drift_monitors TO drift_viewer;
