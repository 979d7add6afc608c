local plan = cjson.decode(ARGV[1])
