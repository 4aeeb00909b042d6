import static java.nio.charset.StandardCharsets.ISO_8859_1;

import javax.transaction.xa.Xid;

/** The name of a branch, as a transaction manager makes it: one character is one byte. */
record Branch(int format, String global, String qualifier) implements Xid {
    Branch(String global, String qualifier) {
        this(4711, global, qualifier);
    }

    static Branch of(Xid xid) {
        return new Branch(xid.getFormatId(), new String(xid.getGlobalTransactionId(), ISO_8859_1),
                new String(xid.getBranchQualifier(), ISO_8859_1));
    }

    @Override
    public int getFormatId() {
        return format;
    }

    @Override
    public byte[] getGlobalTransactionId() {
        return global.getBytes(ISO_8859_1);
    }

    @Override
    public byte[] getBranchQualifier() {
        return qualifier.getBytes(ISO_8859_1);
    }
}
