import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Where dead messages go by the strategies of the policy. */
final class DeadLetters extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry queue="Own.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy/></deadLetterStrategy></policyEntry>
                <policyEntry queue="Named.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy queuePrefix="DLQ." queueSuffix=".dead"/>
                </deadLetterStrategy></policyEntry>
                <policyEntry queue="ToTopic.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy useQueueForQueueMessages="false"/></deadLetterStrategy></policyEntry>
                <policyEntry topic="Own.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy/></deadLetterStrategy></policyEntry>
                <policyEntry topic="ToTopic.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy topicPrefix="DLT." topicSuffix=".dead"
                    useQueueForTopicMessages="false"/></deadLetterStrategy></policyEntry>
                <policyEntry topic="PerSubscriber.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy destinationPerDurableSubscriber="true"/>
                </deadLetterStrategy></policyEntry>
                <policyEntry queue="Discard.>"><deadLetterStrategy><discarding/></deadLetterStrategy></policyEntry>
                <policyEntry queue="Light.>"><deadLetterStrategy>
                  <sharedDeadLetterStrategy processNonPersistent="true"/></deadLetterStrategy></policyEntry>
                <policyEntry queue="KeepExpired.>" expireMessagesPeriod="200"><deadLetterStrategy>
                  <sharedDeadLetterStrategy/></deadLetterStrategy></policyEntry>
                <policyEntry queue="DropExpired.>" expireMessagesPeriod="200"><deadLetterStrategy>
                  <sharedDeadLetterStrategy processExpired="false"/></deadLetterStrategy></policyEntry>
                <policyEntry queue="Short.>"><deadLetterStrategy>
                  <sharedDeadLetterStrategy expiration="1000">
                    <deadLetterQueue><queue physicalName="Letters.Short"/></deadLetterQueue>
                  </sharedDeadLetterStrategy></deadLetterStrategy></policyEntry>
                <policyEntry queue="Letters.Short" expireMessagesPeriod="200"><deadLetterStrategy>
                  <discarding/></deadLetterStrategy></policyEntry>
                <policyEntry queue="ActiveMQ.DLQ" enableAudit="false"/>
                <policyEntry tempQueue="true"><deadLetterStrategy>
                  <individualDeadLetterStrategy queuePrefix="Temporary."/></deadLetterStrategy></policyEntry>
                <policyEntry queue="Consumer.*.VirtualTopic.Short">
                  <deadLetterStrategy><sharedDeadLetterStrategy maxAuditDepth="64">
                    <deadLetterQueue><queue physicalName="Letters.Depth"/></deadLetterQueue>
                  </sharedDeadLetterStrategy></deadLetterStrategy></policyEntry>
                <policyEntry queue="Letters.Depth" enableAudit="false"/>
                <policyEntry queue="Consumer.*.VirtualTopic.Twice"><deadLetterStrategy>
                  <sharedDeadLetterStrategy enableAudit="false"/></deadLetterStrategy></policyEntry>
                """);
    }

    private static ActiveMQQueue q(String name) {
        return new ActiveMQQueue(name);
    }

    /** A persistent message that its consumer rolls back once too often. */
    private void die(ActiveMQQueue queue) throws Exception {
        die(queue, DeliveryMode.PERSISTENT);
    }

    private void die(ActiveMQQueue queue, int mode) throws Exception {
        sendMarked(queue, mode, 0);
        reject(connect("jms.redeliveryPolicy.maximumRedeliveries=0"), queue);
    }

    private static void reject(ActiveMQConnection connection, ActiveMQQueue queue) throws Exception {
        Session session = transacted(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        take(consumer);
        session.rollback();
        consumer.close();
    }

    private void sendMarked(Destination to, int mode, long lives) throws Exception {
        sendMarked(auto(connect()), to, mode, lives);
    }

    private void sendMarked(Session session, Destination to, int mode, long lives) throws Exception {
        MessageProducer producer = session.createProducer(to);
        Message message = session.createTextMessage("dead");
        message.setStringProperty("marker", name());
        producer.send(message, mode, 4, lives);
    }

    private MessageConsumer letters(ActiveMQDestination from) throws Exception {
        return auto(connect()).createConsumer(from, "marker = '" + name() + "'");
    }

    private ActiveMQMessage letter(ActiveMQDestination from) throws Exception {
        return (ActiveMQMessage) take(letters(from));
    }

    @Test
    void a_queue_may_have_dead_letters_of_its_own() throws Exception {
        die(q("Own.Q"));
        equal(q("Own.Q"), letter(q("ActiveMQ.DLQ.Queue.Own.Q")).getOriginalDestination());
        die(q("Named.Q"));
        letter(q("DLQ.Named.Q.dead"));
    }

    @Test
    void dead_letters_may_go_to_a_topic() throws Exception {
        MessageConsumer topic = letters(new ActiveMQTopic("ActiveMQ.DLQ.Queue.ToTopic.Q"));
        die(q("ToTopic.Q"));
        take(topic);
    }

    @Test
    void a_topic_has_dead_letters_of_its_durable_subscribers() throws Exception {
        rejectAsSubscriber(new ActiveMQTopic("Own.T"));
        letter(q("ActiveMQ.DLQ.Topic.Own.T"));
        MessageConsumer topic = letters(new ActiveMQTopic("DLT.ToTopic.T.dead"));
        rejectAsSubscriber(new ActiveMQTopic("ToTopic.T"));
        take(topic);
    }

    @Test
    void each_durable_subscriber_may_have_its_own() throws Exception {
        rejectAsSubscriber(new ActiveMQTopic("PerSubscriber.T"));
        letter(q("ActiveMQ.DLQ.Topic.PerSubscriber.T." + name() + "PerSubscriber.T:sub"));
    }

    private void rejectAsSubscriber(ActiveMQTopic topic) throws Exception {
        ActiveMQConnection connection = unstarted(url("jms.redeliveryPolicy.maximumRedeliveries=0"));
        connection.setClientID(name() + topic.getPhysicalName());
        connection.start();
        Session session = transacted(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "sub");
        sendMarked(topic, DeliveryMode.PERSISTENT, 0);
        take(consumer);
        session.rollback();
        connection.close();
    }

    @Test
    void a_policy_may_be_for_temporary_queues() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        ActiveMQDestination temporary = (ActiveMQDestination) auto(connection).createTemporaryQueue();
        sendMarked(auto(connection), temporary, DeliveryMode.PERSISTENT, 0);
        Session session = transacted(connection);
        take(session.createConsumer(temporary));
        session.rollback();
        equal(temporary, letter(q("Temporary." + temporary.getPhysicalName())).getOriginalDestination());
    }

    @Test
    void dead_letters_may_be_discarded() throws Exception {
        MessageConsumer shared = letters(q("ActiveMQ.DLQ"));
        die(q("Discard.Q"));
        nothing(shared);
        equal(List.of(), drain(q("Discard.Q")));
    }

    @Test
    void messages_without_persistence_may_be_kept_and_are_persistent_then() throws Exception {
        die(q("Light.Q"), DeliveryMode.NON_PERSISTENT);
        ActiveMQMessage letter = letter(q("ActiveMQ.DLQ"));
        equal(DeliveryMode.PERSISTENT, letter.getJMSDeliveryMode());
        equal("NON_PERSISTENT", letter.getStringProperty("originalDeliveryMode"));
    }

    @Test
    void what_expired_is_kept_with_its_time_and_lives_for_ever() throws Exception {
        long before = System.currentTimeMillis();
        sendMarked(q("KeepExpired.Q"), DeliveryMode.PERSISTENT, 300);
        ActiveMQMessage letter = letter(q("ActiveMQ.DLQ"));
        equal(0L, letter.getJMSExpiration());
        check(letter.getLongProperty("originalExpiration") >= before + 300, "no original expiration");
        contains("Message Expired", letter.getStringProperty("dlqDeliveryFailureCause"));
    }

    @Test
    void what_expired_may_be_dropped() throws Exception {
        MessageConsumer shared = letters(q("ActiveMQ.DLQ"));
        sendMarked(q("DropExpired.Q"), DeliveryMode.PERSISTENT, 100);
        check(shared.receive(1000) == null, "it was kept");
    }

    @Test
    void dead_letters_may_have_a_time_to_live() throws Exception {
        long before = System.currentTimeMillis();
        die(q("Short.Q"));
        javax.jms.QueueBrowser browser = auto(connect()).createBrowser(q("Letters.Short"));
        var found = browser.getEnumeration();
        eventually("the letter is there", found::hasMoreElements);
        long expiration = ((Message) found.nextElement()).getJMSExpiration();
        check(expiration >= before + 1000 && expiration <= before + 20_000, "expires at " + (expiration - before));
        browser.close();
        TimeUnit.MILLISECONDS.sleep(1500);
        equal(List.of(), drain(q("Letters.Short")));
    }

    @Test
    void a_message_that_died_is_told_from_its_copy_and_only_kept_once() throws Exception {
        equal(1, lettersOfTwoCopies("Once"));
    }

    @Test
    void without_audit_each_copy_of_a_message_that_died_is_kept() throws Exception {
        equal(2, lettersOfTwoCopies("Twice"));
    }

    private int lettersOfTwoCopies(String topic) throws Exception {
        MessageConsumer shared = letters(q("ActiveMQ.DLQ"));
        ActiveMQQueue[] queues = {q("Consumer.A.VirtualTopic." + topic), q("Consumer.B.VirtualTopic." + topic)};
        Session session = auto(connect());
        for (ActiveMQQueue queue : queues) {
            session.createConsumer(queue).close();
        }
        sendMarked(new ActiveMQTopic("VirtualTopic." + topic), DeliveryMode.PERSISTENT, 0);
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        for (ActiveMQQueue queue : queues) {
            reject(connection, queue);
        }
        int count = 0;
        while (shared.receive(500) != null) {
            count++;
        }
        return count;
    }

    @Test
    void what_dies_in_the_dead_letter_queue_is_gone() throws Exception {
        die(q("Q." + name()));
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        Session session = transacted(connection);
        MessageConsumer consumer = session.createConsumer(q("ActiveMQ.DLQ"), "marker = '" + name() + "'");
        take(consumer);
        session.rollback();
        consumer.close();
        nothing(letters(q("ActiveMQ.DLQ")));
    }

    @Test
    void a_copy_is_only_told_from_so_many_that_died_lately() throws Exception {
        int messages = 200;
        ActiveMQQueue[] queues = {q("Consumer.A.VirtualTopic.Short"), q("Consumer.B.VirtualTopic.Short")};
        for (ActiveMQQueue queue : queues) {
            auto(connect()).createConsumer(queue).close();
        }
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(new ActiveMQTopic("VirtualTopic.Short"));
        for (String text : numbers(0, messages)) {
            producer.send(session.createTextMessage(text));
        }
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        MessageConsumer letters = auto(connect("jms.checkForDuplicates=false")).createConsumer(q("Letters.Depth"));
        List<List<String>> found = new ArrayList<>();
        for (ActiveMQQueue queue : queues) {
            Session rejecting = transacted(connection);
            MessageConsumer consumer = rejecting.createConsumer(queue);
            takeTexts(consumer, messages);
            rejecting.rollback();
            consumer.close();
            found.add(takeAll(letters));
        }
        equal(numbers(0, messages), found.get(0));
        List<String> again = found.get(1);
        check(again.contains("0") && !again.contains("" + (messages - 1)), "again came " + again);
        check(again.size() >= messages / 4, "again came only " + again.size());
    }
}
