import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { verify } from '@pontage/sdk';

const server = createServer(async (request, response) => {
  try {
    const event = verify(await buffer(request), request.headers, process.env.WEBHOOK_SECRET);
    console.log(event.type, event.content);
    response.writeHead(200).end();
  } catch (error) {
    console.error(error.message);
    response.writeHead(400).end();
  }
});
server.listen(process.env.PORT ?? 3000, () => console.log('listening on', server.address().port));
