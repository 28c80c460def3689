-- Try what the other scripts need of the server besides commands: MessagePack, and the clock.
--
-- Replies: {OK}

takes({}, {})

assert(cmsgpack.unpack(cmsgpack.pack({'a'}))[1] == 'a' and now() > 0)
return {'OK'}
