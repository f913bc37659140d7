-- Written by `python -m deploy.k8s.generate`; a test keeps it in step.
CREATE USER IF NOT EXISTS 'chat_application'@'%' IDENTIFIED BY 'dev-application';
ALTER USER 'chat_application'@'%' IDENTIFIED BY 'dev-application' REQUIRE NONE;
CREATE USER IF NOT EXISTS 'chat_migrator'@'%' IDENTIFIED BY 'dev-migrator';
ALTER USER 'chat_migrator'@'%' IDENTIFIED BY 'dev-migrator' REQUIRE NONE;
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON `chat`.* TO 'chat_migrator'@'%' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS 'chat_exporter'@'%' IDENTIFIED BY 'dev-exporter';
ALTER USER 'chat_exporter'@'%' IDENTIFIED BY 'dev-exporter' REQUIRE NONE WITH MAX_USER_CONNECTIONS 3;
GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'chat_exporter'@'%';
GRANT SELECT ON performance_schema.* TO 'chat_exporter'@'%';
