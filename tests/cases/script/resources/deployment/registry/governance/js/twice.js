function mediate(mc) { mc.setPayloadJSON({ n: 2, entry: String(mc.getEntry("gov:/js/note.txt")) }); }
